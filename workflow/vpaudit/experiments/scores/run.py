"""Fisher information of slightly smoothed images along its principal directions, from the prior's own score.

Training images (none of the targets), each smoothed several times with fresh noise; score = (D(x1, a) - x1) / a^2.
"""

import numpy as np
import pandas as pd
import torch

from vpaudit import data
from vpaudit.base import pixels
from vpaudit.base.randomness import generator
from vpaudit.experiments.bench import Bench, progress
from vpaudit.privacy import floor

SMOOTHING = (0.1, 0.25, 0.5, 1.0, 2.0)
SAMPLES = 24_000  # of smoothed images, half for the basis and half for the information along it
CHUNK = 512


def run(bench: Bench) -> pd.DataFrame:
    """Columns smoothing, place (rank of the direction), value, standard_error, samples."""
    images = pixels.from_uint8(data.load(bench.config.data.name, "train").images)
    order = torch.randperm(len(images), generator=generator(bench.config.seed, "scores"))
    halves = images[order[: len(order) // 2]], images[order[len(order) // 2 :]]
    directions = torch.linalg.eigh(halves[0].flatten(1).double().T.cov())[1].numpy()
    tables = []
    for a in SMOOTHING:
        basis, values = (_scores(bench, half, a, k) for k, half in enumerate(halves))
        found = floor.fisher_information(basis, values, a, directions)
        table = pd.DataFrame({"value": found.values, "standard_error": found.standard_errors})
        tables.append(table.assign(smoothing=a, place=range(len(table)), samples=len(values)))
    return pd.concat(tables, ignore_index=True).assign(metric="fisher_information", dataset=bench.config.dataset)


def _scores(bench: Bench, images: torch.Tensor, a: float, half: int) -> np.ndarray:
    """(SAMPLES / 2, N): scores of images smoothed at a, each image in turn as often as needed."""
    made = []
    for start in progress(range(0, SAMPLES // 2, CHUNK), f"scores a={a:g}"):
        count = min(CHUNK, SAMPLES // 2 - start)
        x = images[torch.arange(start, start + count) % len(images)]
        rng = generator(bench.config.seed, "smoothing", a, half, start)
        x = x + a * torch.randn(x.shape, generator=rng)
        score = (bench.network.denoise(x, torch.full((count,), a)) - x) / a**2
        made.append(score.flatten(1).double().numpy())
    return np.concatenate(made)
