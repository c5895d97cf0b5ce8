"""How far each prior's own samples lie from images, by Frechet and kernel distance: what prediction is held against."""

import pandas as pd
import torch

from vpaudit import data
from vpaudit.base import pixels
from vpaudit.base.pixels import HIGH, LOW
from vpaudit.base.randomness import KeyedNoise
from vpaudit.experiments.bench import PRIORS, Bench, progress
from vpaudit.measure import distances

SAMPLES, STEPS, CHUNK = 512, 20, 64


def run(bench: Bench) -> pd.DataFrame:
    """Columns prior, metric ("frechet", "kernel", "pixels"), value, between samples and training images."""
    config = bench.config
    chosen = data.select(data.load(config.data.name, "train"), SAMPLES, config.seed)
    images, labels = pixels.from_uint8(chosen.images), torch.from_numpy(chosen.labels.astype("int64"))
    features = distances.Features()
    real = {"features": features(images), "pixels": distances.pixels(images)}
    rows = []
    for prior in progress(PRIORS, "distances"):
        made = _samples(bench, prior, labels)
        mine, flat = features(made), distances.pixels(made)
        frechet = distances.frechet(*distances.moments(mine), *distances.moments(real["features"]))
        of_pixels = distances.frechet(*distances.moments(flat), *distances.moments(real["pixels"]))
        kernel = distances.kernel(mine, real["features"])
        rows += [(prior, "frechet", frechet), (prior, "kernel", kernel), (prior, "pixels", of_pixels)]
    table = pd.DataFrame(rows, columns=["prior", "metric", "value"])
    return table.assign(dataset=config.dataset, samples=len(images))


def _samples(bench: Bench, prior: str, labels: torch.Tensor) -> torch.Tensor:
    """Images of a prior. Told a wrong class for every image, the classes as a whole come out as told the right one."""
    if prior == "gaussian":
        keys = [(bench.config.seed, "Gaussian image", i) for i in range(len(labels))]
        noise = KeyedNoise(keys, bench.gaussian.shape)()
        return (bench.gaussian.mean + bench.gaussian.colour(noise)).clamp(LOW, HIGH)
    if prior == "wrong_class":
        labels = (labels + 1) % bench.network.num_classes
    told = None if prior == "unconditional" else labels
    ids = torch.arange(len(labels))
    return torch.cat(
        [
            bench.sample_prior(part, STEPS, order=2, labels=None if told is None else told[part])
            for part in ids.split(CHUNK)
        ]
    )
