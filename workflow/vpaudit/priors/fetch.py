"""Public priors from the Hugging Face hub, or any server that speaks its paths (HF_ENDPOINT), into our own layout.

A prior's folder appears under its final name whole or not at all: files are fetched into a folder beside it (resumed if
they were cut, retried with growing pauses), checked, brought to unet/ and scheduler/ with safetensors, then renamed.
"""

import errno
import json
import shutil
import time
from pathlib import Path

import httpx2
import torch
import yaml
from huggingface_hub import errors as hub
from huggingface_hub import snapshot_download
from safetensors.torch import load_file, save_file

from vpaudit import io
from vpaudit.errors import VpauditError

PAUSES = (1.0, 4.0, 16.0)  # seconds before the second, third and fourth try
WEIGHTS = "diffusion_pytorch_model.safetensors"


def card(name: str) -> dict:
    """The card of a public prior; an unknown name is answered with the known ones."""
    cards = yaml.safe_load((Path(__file__).parent / "cards.yaml").read_text(encoding="utf-8"))
    if name not in cards:
        raise VpauditError(f"no public prior {name!r}", f"known: {', '.join(cards)}; or set prior.path to a folder")
    return cards[name]


def fetch(name: str, folder: str | Path, about: dict | None = None, pauses=PAUSES) -> Path:
    """Bring a public prior into folder/name; kept if it is there.

    Args:
        about: a card; None takes that of the name.

    Raises:
        VpauditError: no access, no such repository or file, another hash, no network, no space; nothing half-written.
    """
    about, final = about or card(name), Path(folder) / name
    if (final / "card.json").exists():
        return final
    partial = final.with_name(f".{name}.partial")
    snapshot = _download(about, partial, pauses)
    weights = next((snapshot / file for file in about["unet"]["weights"] if (snapshot / file).exists()), None)
    if weights is None:
        raise VpauditError(f"{about['repo']} holds none of {', '.join(about['unet']['weights'])}", "mend the card")
    digest = io.sha256(weights)
    expected = about.get("sha256", {}).get(weights.name)
    if expected and digest != expected:
        weights.unlink()
        raise VpauditError(f"{weights.name}: sha256 {digest}, the card says {expected}", "try again, or mend the card")
    made = _arrange(about, snapshot, weights, partial / "made")
    io.write_json(
        made / "card.json",
        {
            **{key: about[key] for key in ("repo", "revision", "licence", "trained_on", "shape")},
            "source_sha256": digest,
            "sha256": io.sha256(made / "unet" / WEIGHTS),
        },
    )
    made.rename(final)
    shutil.rmtree(partial, ignore_errors=True)
    return final


def _download(about: dict, partial: Path, pauses) -> Path:
    """The wanted files in a folder; connection errors are tried again, what was fetched is kept."""
    wanted = [about["unet"]["config"], *about["unet"]["weights"], about["scheduler"]]
    repo, hint = about["repo"], "set HF_TOKEN after accepting its licence on the hub"
    for pause in (*pauses, None):
        try:
            path = snapshot_download(
                repo, revision=about["revision"], allow_patterns=wanted, local_dir=partial / "snapshot", max_workers=4
            )
            return Path(path)
        except hub.GatedRepoError as error:
            raise VpauditError(f"{repo} is gated", hint) from error
        except hub.RepositoryNotFoundError as error:
            raise VpauditError(f"{repo} was not found, or is private", f"check the card's repo, or {hint}") from error
        except hub.RevisionNotFoundError as error:
            raise VpauditError(f"{repo} has no revision {about['revision']}", "mend the card's revision") from error
        except hub.HfHubHTTPError as error:
            status = getattr(getattr(error, "response", None), "status_code", None)
            if (status is not None and status < 500) or pause is None:
                raise VpauditError(f"{repo}: HTTP {status}: {str(error).splitlines()[0]}", hint) from error
        except hub.LocalEntryNotFoundError as error:
            if pause is None:
                raise VpauditError(
                    f"{repo} could not be reached: {error.__cause__ or error}",
                    "check the network, HF_ENDPOINT and HF_HUB_OFFLINE; try again",
                ) from error
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise VpauditError(f"no space left for {repo}", "free disk space; the same command resumes") from error
            if pause is None:
                raise VpauditError(f"{repo}: {error}", "check the network; the same command resumes") from error
        except httpx2.HTTPError as error:  # a connection cut in the middle
            if pause is None:
                raise VpauditError(f"{repo}: {error}", "check the network; the same command resumes") from error
        time.sleep(pause)
    raise AssertionError("every way out of the loop returns or raises")


def _arrange(about: dict, snapshot: Path, weights: Path, made: Path) -> Path:
    """unet/ and scheduler/ as the rest of the library reads them, weights as safetensors."""
    shutil.rmtree(made, ignore_errors=True)
    for part in ("unet", "scheduler"):
        (made / part).mkdir(parents=True)
    shutil.copy(snapshot / about["unet"]["config"], made / "unet" / "config.json")
    shutil.copy(snapshot / about["scheduler"], made / "scheduler" / "scheduler_config.json")
    if weights.suffix == ".safetensors":
        tensors = load_file(weights)
    else:
        tensors = torch.load(weights, weights_only=True, map_location="cpu")  # no code is run
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, made / "unet" / WEIGHTS)
    size = json.loads((made / "unet" / "config.json").read_text())["sample_size"]
    if [size, size] != list(about["shape"][1:]) and size != list(about["shape"][1:]):
        raise VpauditError(f"{about['repo']} makes images of {size}, its card says {about['shape']}", "mend the card")
    return made
