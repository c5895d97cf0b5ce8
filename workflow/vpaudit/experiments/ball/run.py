"""Distances of the prior's own samples to many centres, in every metric: where small-ball probabilities come from."""

import numpy as np
import pandas as pd
import torch
from sklearn.cluster import KMeans

from vpaudit.base.pixels import HIGH, LOW
from vpaudit.experiments.bench import Bench, progress
from vpaudit.measure import metrics

SAMPLES, STEPS, CHUNK = 4000, 20, 256
CENTRES = 48  # samples that are not among those measured, and as many cluster centres of these, and the mean
KEPT = 400  # nearest distances kept of each centre, and quantiles of the rest


def run(bench: Bench) -> pd.DataFrame:
    """Columns metric, centre, rank, count, value: distances (1 - value for similarities) in rising order."""
    parts = torch.arange(SAMPLES + CENTRES).split(CHUNK)
    images = torch.cat([bench.sample_prior(ids, STEPS, order=2) for ids in progress(parts, "samples of the prior")])
    drawn, apart = images[CENTRES:], images[:CENTRES]
    clusters = KMeans(CENTRES, n_init=2, random_state=0).fit(images[: SAMPLES // 2].flatten(1).numpy()).cluster_centers_
    centres = torch.cat([apart, torch.from_numpy(clusters).float().view(-1, *images.shape[1:]), drawn.mean(0)[None]])
    centres = centres.clamp(LOW, HIGH)
    tables = []
    for name, distances in _distances(bench, drawn, centres).items():
        ordered = np.sort(distances, axis=1)
        ranks = np.unique(np.r_[np.arange(KEPT), np.linspace(KEPT, SAMPLES - 1, KEPT).astype(int)])
        for centre, row in enumerate(ordered):
            tables.append(pd.DataFrame({"centre": centre, "rank": ranks, "value": row[ranks], "metric": name}))
    return pd.concat(tables, ignore_index=True).assign(count=SAMPLES, dataset=bench.config.dataset)


def _distances(bench: Bench, drawn, centres) -> dict[str, np.ndarray]:
    """{metric: (centres, samples)}: MSE, 1 - SSIM, LPIPS."""
    meter = bench.meter
    found = {name: np.empty((len(centres), len(drawn))) for name in ("mse", "ssim", meter.lpips_name) if name}
    features = meter.features(centres)
    for start in progress(range(0, len(drawn), 64), "distances"):
        part = drawn[start : start + 64]
        own = meter.features(part)
        for k, centre in enumerate(centres):
            same = centre.expand_as(part)
            found["mse"][k, start : start + 64] = metrics.mse(same, part)
            found["ssim"][k, start : start + 64] = 1 - metrics.ssim(same, part)
            if features is not None:
                one = features[k : k + 1].expand_as(own)
                found[meter.lpips_name][k, start : start + 64] = meter.lpips.distance(one, own)
    return found
