"""Bounds for adversaries with a realistic prior, as one table: from measurements of the prior, over the grid of mu.

Rows (quantity, prior, metric, mu): value, low, high. `information` and `kl` in bits about one image, `mse_floor` in MSE
a pixel, `distance_floor` in the metric's own unit (1 - SSIM for ssim). s = |x| / mu differs by image: an image's
information is at its own s, floors are means over the targets'. docs/theory.md says which inequality is a theorem and
which term an estimate.
"""

import numpy as np
import pandas as pd

from vpaudit.base import stats
from vpaudit.privacy import floor, information
from vpaudit.privacy.small_ball import SmallBall

NATS_PER_BIT = np.log(2)


def table(curves, scores, ball, norms: pd.Series, variances: np.ndarray, mus, max_grad_norm: float) -> pd.DataFrame:
    """Every prior-aware bound.

    Args:
        curves, scores, ball: tables of `experiments.curves`, `experiments.scores`, `experiments.ball`.
        norms: of the targets, by image id; variances: (N,) eigenvalues of the Gaussian prior's covariance.
    """
    rows = []
    measured = norms[np.unique(curves.loc[curves["targets"] == "real", "image"])].to_numpy()
    for mu in mus:
        s = np.maximum(norms.to_numpy(), max_grad_norm) / mu
        rows += _information(curves, variances, np.maximum(measured, max_grad_norm) / mu, mu)
        rows += _floors(curves, scores, s, len(variances), mu)
        rows += [
            ("distance_floor", "prior", metric, mu, *3 * (_ball(part).expected_floor(mu),))
            for metric, part in ball.groupby("metric")
        ]
    return pd.DataFrame(rows, columns=["quantity", "prior", "metric", "mu", "value", "low", "high"])


def _curve(curves: pd.DataFrame, prior: str, targets: str = "real") -> tuple[np.ndarray, np.ndarray]:
    """s (K,) and squared errors (images, K)."""
    part = curves[(curves["prior"] == prior) & (curves["targets"] == targets)]
    wide = part.pivot_table(index="image", columns="s", values="value")
    return wide.columns.to_numpy(float), wide.to_numpy(float)


def _integrals(grid, errors, s, start) -> np.ndarray:
    """(images,): half the integral over snr, each image's error up to its own s (images,), in bits."""
    s = np.clip(s, grid.min(), grid.max())
    return np.array([information.integral_over_snr(grid, *pair, start) for pair in zip(errors, s)]) / NATS_PER_BIT


def _information(curves, variances, s, mu) -> list[tuple]:
    total, rows = float(np.sum(variances)), []
    best_grid, best = _curve(curves, "unconditional")
    for prior in curves.loc[curves["targets"] == "real", "prior"].unique():
        grid, errors = _curve(curves, prior)
        value, low, high = (float(v) for v in stats.bootstrap(_integrals(grid, errors, s, total)))
        rows.append(("information", prior, "bits", mu, value, low, high))
        if prior != "unconditional":
            excess = _integrals(best_grid, errors - best, s, 0.0)
            rows.append(("kl", prior, "bits", mu, *(float(v) for v in stats.bootstrap(excess))))
    gauss = float(information.gaussian_information(variances, s).mean()) / NATS_PER_BIT
    channel = float(information.capacity(mu, len(variances))) / NATS_PER_BIT
    rows.append(("information", "bound for the covariance", "bits", mu, gauss, gauss, gauss))
    rows.append(("information", "channel capacity", "bits", mu, channel, channel, channel))
    return rows


def _floors(curves, scores, s, pixels, mu) -> list[tuple]:
    rows = []
    for a, part in scores.groupby("smoothing"):
        if s.min() <= 1.01 * a:
            continue
        found = floor.Information(
            float(a), part["value"].to_numpy(), part["standard_error"].to_numpy()
        )  # fmt: skip
        value = float(floor.van_trees(found, s).mean()) / pixels
        error = 1.96 * float(floor.van_trees_error(found, s).mean()) / pixels
        rows.append(("mse_floor", f"van Trees, smoothed at {a:g}", "mse", mu, value, value - error, value + error))
    if rows:
        best = max(rows, key=lambda row: row[5])
        rows.append((best[0], "van Trees, best smoothing", *best[2:]))
    grid, errors = _curve(curves, "unconditional")
    mean = errors.mean(axis=0)
    start = float(mean[np.argmax(grid)])
    smallest = [a for a in np.unique(scores["smoothing"]) if a >= grid.min() and s.min() > 1.01 * a]
    bounds = []
    for a in smallest:
        at_a = information.integral_over_snr(grid, mean, np.array([a]), start)[0]
        at_s = information.integral_over_snr(grid, mean, np.clip(s, grid.min(), grid.max()), start)
        entropy = information.smoothed_entropy(at_a, a, pixels)
        bounds.append(float(floor.shannon(entropy, at_s, a, s, pixels).mean()) / pixels)
    if bounds:
        rows.append(("mse_floor", "Shannon", "mse", mu, *3 * (max(bounds),)))
    return rows


def _ball(part: pd.DataFrame) -> SmallBall:
    """Distances of all samples to each centre, those between kept ranks by interpolation."""
    wide = part.pivot_table(index="centre", columns="rank", values="value")
    ranks, count = wide.columns.to_numpy(), int(part["count"].iloc[0])
    return SmallBall.of(np.stack([np.interp(np.arange(count), ranks, row) for row in wide.to_numpy()]))
