"""Images read out of real gradients: quality as the image's share of the clipped gradient falls."""

import pandas as pd
import torch

from vpaudit.attack import gradients
from vpaudit.base.pixels import per_image
from vpaudit.experiments.bench import Bench, progress
from vpaudit.measure import metrics
from vpaudit.privacy.mechanism import Observation

BATCHES = (1, 8, 32)
ROWS = 256
STRENGTHS = (100.0, 1.0, 0.1)
PUBLIC = 512  # training images from which the server takes its bins


def run(bench: Bench) -> pd.DataFrame:
    """Columns design, batch, strength; `separable` (0 or 1), and for those share, mse, and mse_simple.

    `mse_simple` is the error after a simple release of the same image with the same effective noise: what theory says
    the gradient is worth.
    """
    from vpaudit import data
    from vpaudit.base import pixels

    config = bench.config
    images = data.select(data.load(config.data.name, "train"), PUBLIC, config.seed)
    public, classes = pixels.from_uint8(images.images), len(images.class_names)
    settings = [(d, b, s) for d in gradients.DESIGNS for b in BATCHES for s in STRENGTHS if b <= len(bench.x)]
    tables = []
    for design, batch, strength in progress(settings, f"gradients mu={bench.mu:g}"):
        network = gradients.ImprintNetwork(bench.x.shape[1:], ROWS, classes, design, public, strength, config.seed)
        columns = {"design": design, "batch": batch, "strength": strength}
        tables += _setting(bench, network, batch, columns)
    return pd.concat(tables, ignore_index=True)


def _setting(bench: Bench, network, batch: int, columns: dict) -> list[pd.DataFrame]:
    """All batches of a setting; what was read out of them is denoised together."""
    parts = [_read(bench, network, slice(k, k + batch), columns) for k in range(0, len(bench.x), batch)]
    separable = torch.cat([apart for _, apart in parts])
    tables = [bench.rows({"separable": separable.double()}, **columns)]
    seen, x = _joined([seen for seen, _ in parts if len(seen)]), bench.x[separable]
    within = [] if seen is None else (seen.s <= bench.network.sigma_max).nonzero()[:, 0]
    if len(within):
        seen, x = seen[within], x[within]
        values = {"share": gradients.share(seen, x, bench.mu), "mse": metrics.mse(bench.posterior_mean(seen), x)}
        values["mse_simple"] = metrics.mse(bench.posterior_mean(_simple(bench, seen, x)), x)
        base = {"dataset": seen.dataset, "mu": bench.mu, **columns}
        tables += [
            pd.DataFrame({**base, "image": seen.ids.numpy(), "metric": name, "value": v.double().numpy()})
            for name, v in values.items()
        ]
    return tables


def _read(bench: Bench, network, part: slice, columns: dict) -> tuple[Observation, torch.Tensor]:
    """What one noisy gradient of a batch tells: an observation of each image that comes apart, and which do."""
    x, ids, labels, config = bench.x[part], bench.ids[part], bench.labels[part], bench.config
    key = (config.dataset, *columns.values(), int(ids[0]))
    released = gradients.release(network, x, labels, bench.mechanism, config.seed, key)
    return gradients.observe(released, x.shape[1:], ids, labels, config.dataset, bench.mu)


def _joined(parts: list[Observation]) -> Observation | None:
    """Observations of several batches as one."""
    if not parts:
        return None
    columns = {name: torch.cat([getattr(p, name) for p in parts]) for name in ("y", "lam", "sigma", "ids", "labels")}
    return Observation(**columns, dataset=parts[0].dataset, mu=parts[0].mu)


def _simple(bench: Bench, seen: Observation, x: torch.Tensor) -> Observation:
    from vpaudit.base.randomness import KeyedNoise

    keys = [(bench.config.seed, bench.config.dataset, i, "simple release") for i in seen.ids.tolist()]
    y = x.double() + per_image(seen.s) * KeyedNoise(keys, x.shape[1:])().double()
    return Observation(
        y.float(), torch.ones_like(seen.s), seen.s, seen.ids, seen.labels, bench.config.dataset, bench.mu
    )
