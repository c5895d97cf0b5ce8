"""What theory says of an adversary with a realistic prior, from measurements of the prior, over the grid of mu.

Rows (quantity, prior, metric, mu): value, low, high. `information` and `kl` in bits about one image, `mse_floor` in MSE
a pixel, `break_even` a share, `distance_floor` in the metric's own unit (1 - SSIM for ssim). s = |x| / mu differs by
image: an image's information is at its own s, floors are means over the targets' s as if it said nothing of the image.
docs/theory.md says which inequality is a theorem and which term an estimate.
"""

import numpy as np
import pandas as pd

from vpaudit.base import pixels, stats
from vpaudit.experiments.bench import Bench
from vpaudit.privacy import floor, information
from vpaudit.privacy.small_ball import SmallBall
from vpaudit.stages.bounds import of_the_kind
from vpaudit.stages.inputs import read_targets

NATS_PER_BIT = np.log(2)
COLUMNS = ["quantity", "prior", "metric", "mu", "value", "low", "high"]
EXCESS = (0.0, 0.05, 0.2)  # of the network's error over the mmse, rho, for which the conditional floor is computed


def run(bench: Bench) -> pd.DataFrame:
    """Columns quantity, prior, low, high."""
    x, _, ids = read_targets(bench.layout)
    norms = pd.Series(x.flatten(1).double().norm(dim=1).numpy(), index=ids.numpy())
    measured = [pd.read_parquet(bench.layout.experiment(name)) for name in ("curves", "scores", "ball")]
    rule = bench.config.mechanism
    made = table(*measured, norms, bench.gaussian.variances.double().numpy(), rule.mu, rule.max_grad_norm)
    images = of_the_kind(bench.config, bench.layout, pixels.to_uint8(x))
    certified = floor.certified_by_images(images, np.array(rule.mu), rule.max_grad_norm)
    even = break_even(measured[1], norms.to_numpy(), dict(zip(rule.mu, certified)), rule.max_grad_norm)
    return pd.concat([made, even], ignore_index=True).assign(dataset=bench.config.dataset)


def table(curves, scores, ball, norms: pd.Series, variances: np.ndarray, mus, max_grad_norm: float) -> pd.DataFrame:
    """Every row.

    Args:
        curves, scores, ball: the tables of these experiments.
        norms: of the targets, by image id; variances: (N,) eigenvalues of the Gaussian prior's covariance.
    """
    rows = []
    measured = norms[np.unique(curves.loc[curves["targets"] == "real", "image"])].to_numpy()
    for mu in mus:
        s = np.maximum(norms.to_numpy(), max_grad_norm) / mu
        rows += _information(curves, variances, np.maximum(measured, max_grad_norm) / mu, mu)
        rows += _floors(scores, s, len(variances), mu)
        rows += [
            ("distance_floor", "prior", metric, mu, *3 * (_ball(part).expected_floor(mu),))
            for metric, part in ball.groupby("metric")
        ]
    return pd.DataFrame(rows, columns=COLUMNS)


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


def _floors(scores, s, pixels, mu) -> list[tuple]:
    """Of each kind the best over the smoothings below every image's noise; none, if none is."""
    found = [_at(part, float(a), s, pixels) for a, part in scores.groupby("smoothing") if s.min() > 1.01 * a]
    rows = []
    for name in found[0] if found else ():
        value, low, high = max((kinds[name] for kinds in found), key=lambda numbers: numbers[1])
        rows.append(("mse_floor", name, "mse", mu, value, low, high))
    return rows


def _at(part, a: float, s, pixels) -> dict[str, tuple[float, float, float]]:
    """value, low, high of each floor at one smoothing."""
    along = {name: rows[["value", "standard_error"]].to_numpy().T for name, rows in part.groupby("metric")}
    found = floor.Information(a, *along["fisher_information"])
    value = float(floor.van_trees(found, s).mean()) / pixels
    error = 1.96 * float(floor.van_trees_error(found, s).mean()) / pixels
    kinds = {"van Trees": (value, value - error, value + error)}
    for excess in EXCESS:
        given = float(floor.conditional(*along["squared_error"], a, s, excess).mean()) / pixels
        kinds[f"network within {excess:.0%} of the mmse"] = (given, given, given)
    return kinds


def break_even(scores, norms: np.ndarray, levels: dict[float, float], max_grad_norm: float) -> pd.DataFrame:
    """The network's excess error up to which the conditional floor is above a level that needs no network, by mu."""
    rows = []
    errors = scores[scores["metric"] == "squared_error"]
    for mu, level in levels.items():
        s = np.maximum(norms, max_grad_norm) / mu
        found = [
            floor.break_even(*part[["value", "standard_error"]].to_numpy().T, float(a), s, level * len(part))
            for a, part in errors.groupby("smoothing") if s.min() > 1.01 * a and level > 0
        ]  # fmt: skip
        rows += [("break_even", "network's excess error", "mse", mu, *3 * (max(found),))] if found else []
    return pd.DataFrame(rows, columns=COLUMNS)


def _ball(part: pd.DataFrame) -> SmallBall:
    """Distances of all samples to each centre, those between kept ranks by interpolation."""
    wide = part.pivot_table(index="centre", columns="rank", values="value")
    ranks, count = wide.columns.to_numpy(), int(part["count"].iloc[0])
    return SmallBall.of(np.stack([np.interp(np.arange(count), ranks, row) for row in wide.to_numpy()]))
