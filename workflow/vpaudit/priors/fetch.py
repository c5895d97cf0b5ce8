"""Public priors from the Hugging Face hub into our own layout.

A prior's folder appears under its final name whole or not at all: files are fetched into a folder beside it (`hub`),
held against the card and the lock, brought to unet/ and scheduler/ with safetensors, then renamed.
"""

import json
import pickle
import shutil
from pathlib import Path

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from vpaudit.base import files
from vpaudit.base.errors import VpauditError
from vpaudit.data import huggingface

WEIGHTS = "diffusion_pytorch_model.safetensors"


def card(name: str) -> dict:
    """The card of a public prior; an unknown name is answered with the known ones."""
    cards = yaml.safe_load((Path(__file__).parent / "cards.yaml").read_text(encoding="utf-8"))
    if name not in cards:
        raise VpauditError(f"no public prior {name!r}", f"known: {', '.join(cards)}; or set prior.path to a folder")
    return cards[name]


def fetch(name: str, folder: str | Path, about: dict | None = None, pauses=huggingface.PAUSES) -> Path:
    """Bring a public prior into folder/name; kept if it is there.

    The first fetch writes revision and sha256 into folder/lock.yaml; later ones fetch that revision and refuse other
    bytes.

    Args:
        about: a card; None takes that of the name.

    Raises:
        VpauditError: no access, no such repository or file, another hash, no network, no space; nothing half-written.
    """
    about, final = about or card(name), Path(folder) / name
    if (final / "card.json").exists():
        return final
    partial, lock = final.with_name(f".{name}.partial"), Path(folder) / "lock.yaml"
    snapshot, wanted = partial / "snapshot", [about["unet"]["config"], about["scheduler"]]
    commit = huggingface.download(
        about["repo"],
        huggingface.pinned(lock, name, about),
        [*wanted, tuple(about["unet"]["weights"])],
        snapshot,
        pauses=pauses,
    )
    weights = next((snapshot / file for file in about["unet"]["weights"] if (snapshot / file).exists()), None)
    if weights is None or not all((snapshot / file).exists() for file in wanted):
        raise VpauditError(f"{snapshot} does not hold all files of {name}'s card", "delete it and fetch again, online")
    digest = files.sha256(weights)
    expected = about.get("sha256", {}).get(weights.name)
    if expected and digest != expected:
        weights.unlink()
        raise VpauditError(f"{weights.name}: sha256 {digest}, the card says {expected}", "try again, or fix the card")
    made = _arrange(about, snapshot, weights, partial / "made")
    huggingface.record(lock, name, about["repo"], commit, {str(weights.relative_to(snapshot)): digest})
    files.write_json(
        made / "card.json",
        {
            **{key: about[key] for key in ("repo", "licence", "trained_on", "shape")},
            "revision": commit,
            "source_sha256": digest,
            "sha256": files.sha256(made / "unet" / WEIGHTS),
        },
    )
    if final.exists() and not any(path.is_file() for path in final.rglob("*")):
        shutil.rmtree(final)  # empty folders that Snakemake makes before a job
    made.rename(final)
    shutil.rmtree(partial, ignore_errors=True)
    return final


def _arrange(about: dict, snapshot: Path, weights: Path, made: Path) -> Path:
    """unet/ and scheduler/ as the rest of the library reads them, weights as safetensors."""
    shutil.rmtree(made, ignore_errors=True)
    for part in ("unet", "scheduler"):
        (made / part).mkdir(parents=True)
    shutil.copy(snapshot / about["unet"]["config"], made / "unet" / "config.json")
    shutil.copy(snapshot / about["scheduler"], made / "scheduler" / "scheduler_config.json")
    try:
        if weights.suffix == ".safetensors":
            tensors = load_file(weights)
        else:
            tensors = torch.load(weights, weights_only=True, map_location="cpu")  # no code is run
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        what = f"{about['repo']}: {weights.name} cannot be read: {str(error).splitlines()[0]}"
        raise VpauditError(what, f"delete {snapshot} and fetch again; or the file is not what its card says") from error
    with files.atomic(made / "unet" / WEIGHTS) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary)
    size = json.loads((made / "unet" / "config.json").read_text())["sample_size"]
    if [size, size] != list(about["shape"][1:]) and size != list(about["shape"][1:]):
        raise VpauditError(f"{about['repo']} makes images of {size}, its card says {about['shape']}", "mend the card")
    return made
