"""Images read out of real gradients: quality as the image's share of the clipped gradient falls."""

import pandas as pd
import torch

from vpaudit import gradients, metrics
from vpaudit.experiments.bench import Bench, progress
from vpaudit.mechanism import Observation
from vpaudit.priors.base import per_image

BATCHES = (1, 8, 32)
ROWS = 256
STRENGTHS = (100.0, 1.0, 0.1)
PUBLIC = 512  # training images from which the server takes its bins


def run(bench: Bench) -> pd.DataFrame:
    """Columns design, batch, strength; `separable` (0 or 1), and for those share, mse, and mse_simple.

    `mse_simple` is the error after a simple release of the same image with the same effective noise: what theory says
    the gradient is worth.
    """
    from vpaudit import data, ranges

    config = bench.config
    images = data.select(data.load(config.data.name, "train"), PUBLIC, config.seed)
    public, classes = ranges.from_uint8(images.images), len(images.class_names)
    settings = [(d, b, s) for d in gradients.DESIGNS for b in BATCHES for s in STRENGTHS if b <= len(bench.x)]
    tables = []
    for design, batch, strength in progress(settings, f"gradients mu={bench.mu:g}"):
        network = gradients.ImprintNetwork(bench.x.shape[1:], ROWS, classes, design, public, strength, config.seed)
        columns = {"design": design, "batch": batch, "strength": strength}
        for start in range(0, len(bench.x), batch):
            tables.append(_batch(bench, network, slice(start, start + batch), columns))
    return pd.concat(tables, ignore_index=True)


def _batch(bench: Bench, network, part: slice, columns: dict) -> pd.DataFrame:
    x, ids, labels, config = bench.x[part], bench.ids[part], bench.labels[part], bench.config
    key = (config.dataset, *columns.values(), int(ids[0]))
    released = gradients.release(network, x, labels, bench.mechanism, config.seed, key)
    seen, separable = gradients.observe(released, x.shape[1:], ids, labels, config.dataset, bench.mu)
    base = {"dataset": config.dataset, "mu": bench.mu, **columns}
    tables = [pd.DataFrame({**base, "image": ids.numpy(), "metric": "separable", "value": separable.numpy() * 1.0})]
    within = (seen.s <= bench.network.sigma_max).nonzero()[:, 0]
    if len(within):
        seen, x = seen[within], x[separable][within]
        values = {"share": gradients.share(seen, x, bench.mu), "mse": metrics.mse(bench.posterior_mean(seen), x)}
        simple = _simple(bench, seen, x)
        values["mse_simple"] = metrics.mse(bench.posterior_mean(simple), x)
        tables += [
            pd.DataFrame({**base, "image": seen.ids.numpy(), "metric": name, "value": v.numpy()})
            for name, v in values.items()
        ]
    return pd.concat(tables, ignore_index=True)


def _simple(bench: Bench, seen: Observation, x: torch.Tensor) -> Observation:
    from vpaudit.rng import KeyedNoise

    keys = [(bench.config.seed, bench.config.dataset, i, "simple release") for i in seen.ids.tolist()]
    y = x.double() + per_image(seen.s) * KeyedNoise(keys, x.shape[1:])().double()
    return Observation(
        y.float(), torch.ones_like(seen.s), seen.s, seen.ids, seen.labels, bench.config.dataset, bench.mu
    )
