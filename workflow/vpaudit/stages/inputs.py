"""What stages read of one another: targets, observations, priors; and the device they work on."""

from pathlib import Path

import numpy as np
import torch

from vpaudit.base import machine, pixels
from vpaudit.base.errors import VpauditError
from vpaudit.study.layout import Layout


def read_targets(layout: Layout, images: slice = slice(None)) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Images float32 (N, C, H, W) in [-1, 1], labels and ids int64 (N,); all, or those at some places."""
    with opened(layout.targets) as file:
        labels, ids = (torch.from_numpy(file[k][images].astype(np.int64)) for k in ("labels", "ids"))
        return pixels.from_uint8(file["images"][images]), labels, ids


def chosen(device: str) -> str:
    """ "auto" is a GPU of this process's own where there are GPUs, else the CPU."""
    if device != "auto":
        return device
    return f"cuda:{machine.claim_gpu(torch.cuda.device_count())}" if torch.cuda.is_available() else "cpu"


def opened(path: Path):
    """np.load, with a way out where the file is missing or broken."""
    try:
        return np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise VpauditError(f"{path} does not exist", "run `snakemake` (or `make replicate`), which makes it") from error
    except (OSError, ValueError) as error:
        raise VpauditError(f"{path} cannot be read: {error}", "delete it and run the same command again") from error
