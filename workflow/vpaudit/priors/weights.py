"""The files of a Gaussian prior: gaussian.safetensors, and card.json with its sha256."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from vpaudit.base import files
from vpaudit.base.errors import VpauditError


def write(folder: str | Path, tensors: dict[str, torch.Tensor], card: dict) -> None:
    """Weights, then card."""
    path = Path(folder) / "gaussian.safetensors"
    with files.atomic(path) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary)
    files.write_json(Path(folder) / "card.json", {**card, "sha256": files.sha256(path)})


def read(folder: str | Path) -> dict[str, torch.Tensor]:
    """What `write` wrote.

    Raises:
        VpauditError: nothing is there, or the weights are not those of the card.
    """
    path = Path(folder) / "gaussian.safetensors"
    if not path.exists():
        raise VpauditError(f"no Gaussian prior at {path}", "git checkout resources/priors, or fit it anew")
    expected = json.loads((Path(folder) / "card.json").read_text())["sha256"]
    if files.sha256(path) != expected:
        raise VpauditError(
            f"{path} has sha256 {files.sha256(path)}, its card says {expected}", "git checkout resources/priors"
        )
    return load_file(path)
