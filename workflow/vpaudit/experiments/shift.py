"""Priors of increasing shift against one target: every class of the prior, and none, against images of every class.

Distances from prior k to targets c, none of which runs the attack at the mu it is to explain:

    kl        price of the wrong prior in bits, 1/2 integral of (mse_k - mse_c) over snr up to the mu in question
    frechet   Frechet distance of pooled AlexNet features (LPIPS's backbone) between training images of the classes
    pixels    Frechet distance of the pixels themselves: means and covariances

Loss: log of the posterior mean's MSE over that of the right class.
"""

import numpy as np
import pandas as pd
import torch

from vpaudit import data, distances, metrics, ranges
from vpaudit.bounds import information
from vpaudit.experiments.bench import Bench, progress
from vpaudit.mechanism import Mechanism, release_analytic
from vpaudit.rng import KeyedNoise

TARGETS = 24  # test images a class
FITTED = 400  # training images a class, for the distances of features and pixels
MUS = (2.0, 5.0, 10.0, 20.0, 50.0)
LEVELS = 16


def run(bench: Bench) -> pd.DataFrame:
    """Columns prior, target (class names; prior "no class known" too), mu, metric: mse, kl, frechet, pixels; value."""
    config, network = bench.config, bench.network
    train, test = (data.load(config.data.name, split) for split in ("train", "test"))
    names, count = list(test.class_names), network.num_classes
    chosen = torch.from_numpy(np.concatenate([np.flatnonzero(test.labels == c)[:TARGETS] for c in range(count)]))
    x, target = ranges.from_uint8(test.images[chosen]), torch.from_numpy(test.labels[chosen])
    tables = [_static(train, names)]
    curves, grid = _curves(bench, x, chosen, count)
    for mu in progress(MUS, "shift"):
        seen = release_analytic(x, chosen, target, Mechanism(mu), f"{config.dataset} shift", config.seed)
        s = seen.s.numpy()
        for k in range(count + 1):
            labels = torch.full((len(x),), k) if k < count else None
            error = metrics.mse(network.denoise(seen.rescaled(), seen.s.float(), labels), x)
            for c in range(count):
                mine = (target == c).numpy()
                at = np.clip(np.median(s[mine]), grid.min(), grid.max())
                excess = curves[k][mine].mean(0) - curves[c][mine].mean(0)
                kl = float(information.integral_over_snr(grid, excess, np.array([at]), 0.0)[0] / np.log(2))
                row = {"prior": (*names, "no class known")[k], "target": names[c], "mu": mu}
                tables.append(pd.DataFrame({**row, "metric": ["mse", "kl"], "value": [float(error[mine].mean()), kl]}))
    return pd.concat(tables, ignore_index=True).assign(dataset=config.dataset, count=TARGETS)


def _curves(bench: Bench, x, ids, count) -> tuple[np.ndarray, np.ndarray]:
    """Squared errors (priors, images, levels) summed over pixels, and the levels."""
    grid = np.geomspace(0.1, bench.network.sigma_max, LEVELS)
    errors = np.empty((count + 1, len(x), len(grid)))
    for level, s in enumerate(progress(list(grid), "shift curves")):
        noise = KeyedNoise([(bench.config.seed, "shift", i, s) for i in ids.tolist()], x.shape[1:])()
        for k in range(count + 1):
            labels = torch.full((len(x),), k) if k < count else None
            estimate = bench.network.denoise(x + s * noise, torch.full((len(x),), float(s)), labels)
            errors[k, :, level] = (estimate - x).square().flatten(1).sum(1)
    return errors, grid


def _static(train, names: list[str]) -> pd.DataFrame:
    """Frechet distances between training images of classes, and of each class to all of them."""
    parts = [ranges.from_uint8(train.images[train.labels == c][:FITTED]) for c in range(len(names))]
    everything = torch.cat([part[: max(2, FITTED // len(names) * 2)] for part in parts])
    rows = []
    for metric, embed in (("pixels", distances.pixels), ("frechet", distances.Features())):
        moments = [distances.moments(embed(part)) for part in (*parts, everything)]
        for k, prior in enumerate((*names, "no class known")):
            for c, target in enumerate(names):
                rows.append((prior, target, metric, distances.frechet(*moments[k], *moments[c])))
    return pd.DataFrame(rows, columns=["prior", "target", "metric", "value"])
