"""Denoising curves: the error of each prior's posterior mean over the whole range of noise, on each kind of image."""

import numpy as np
import pandas as pd
import torch

from vpaudit.attack.reconstruct import class_labels
from vpaudit.base.randomness import KeyedNoise
from vpaudit.experiments.bench import Bench, progress
from vpaudit.priors import samples

LEVELS = 28  # noise levels, log-spaced over the prior's range
PRIORS = ("unconditional", "true_class", "wrong_class", "gaussian")


def run(bench: Bench) -> pd.DataFrame:
    """Columns targets ("real" or "prior"), prior, s; `sum` is |x - D(x + s z)|^2 summed over pixels, per image."""
    tables, network = [], bench.network
    grid = np.geomspace(max(network.sigma_min, 0.03), min(network.sigma_max, samples.START), LEVELS)
    for name, images in {"real": bench.x, "prior": bench.images_of_the_prior()}.items():
        for s in progress(list(grid), f"curves {name}"):
            keys = [(bench.config.seed, "curve", name, i, s) for i in bench.ids.tolist()]
            x = images + s * KeyedNoise(keys, images.shape[1:])()
            at = torch.full((len(x),), s)
            for prior in PRIORS if name == "real" else ("unconditional", "gaussian"):
                if prior == "gaussian":
                    estimate = bench.gaussian.denoise(x, at)
                else:
                    labels = class_labels(bench.seen, prior, network.num_classes, bench.config.seed)
                    estimate = network.denoise(x, at, labels)
                error = (estimate - images).square().flatten(1).sum(1)
                tables.append(bench.rows({"sum": error}, targets=name, prior=prior, s=float(s)))
    return pd.concat(tables, ignore_index=True)
