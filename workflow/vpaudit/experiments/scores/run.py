"""Fisher information of slightly smoothed images along its principal directions, from the prior's own score.

Training images (none of the targets), each smoothed several times with fresh noise; score = (D(x1, a) - x1) / a^2. And
the prior's squared error (D(x1, a) - x)^2 along the same directions.
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
    """Columns metric, smoothing, place (rank of the direction), value, standard_error, samples."""
    images = pixels.from_uint8(data.load(bench.config.data.name, "train").images)
    order = torch.randperm(len(images), generator=generator(bench.config.seed, "scores"))
    halves = images[order[: len(order) // 2]], images[order[len(order) // 2 :]]
    directions = torch.linalg.eigh(halves[0].flatten(1).double().T.cov())[1].numpy()
    tables = []
    for a in SMOOTHING:
        (basis, _), (scores, errors) = (_scores(bench, half, a, k) for k, half in enumerate(halves))
        found = floor.fisher_information(basis, scores, a, directions)
        squares = floor.along(errors, found.basis)
        for metric, (value, standard_error) in {
            "fisher_information": (found.values, found.standard_errors),
            "squared_error": squares,
        }.items():
            table = pd.DataFrame({"value": value, "standard_error": standard_error, "place": range(len(value))})
            tables.append(table.assign(metric=metric, smoothing=a, samples=len(scores)))
    return pd.concat(tables, ignore_index=True).assign(dataset=bench.config.dataset)


def _scores(bench: Bench, images: torch.Tensor, a: float, half: int) -> tuple[np.ndarray, np.ndarray]:
    """(SAMPLES / 2, N) each: scores of images smoothed at a, and D - x; each image in turn as often as needed."""
    scores, errors = [], []
    for start in progress(range(0, SAMPLES // 2, CHUNK), f"scores a={a:g}"):
        count = min(CHUNK, SAMPLES // 2 - start)
        x = images[torch.arange(start, start + count) % len(images)]
        rng = generator(bench.config.seed, "smoothing", a, half, start)
        smoothed = x + a * torch.randn(x.shape, generator=rng)
        estimate = bench.network.denoise(smoothed, torch.full((count,), a))
        scores.append(((estimate - smoothed) / a**2).flatten(1).double().numpy())
        errors.append((estimate - x).flatten(1).double().numpy())
    return np.concatenate(scores), np.concatenate(errors)
