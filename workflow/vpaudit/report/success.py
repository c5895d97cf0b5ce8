"""How often attacks succeed, on releases with and without the target: counts, the theorem's test, visual mu.

An output succeeds at eta if its distance to the target is at most eta: the metric where lower is closer, 1 - metric for
a similarity. The theorem, its test and visual mu: privacy/success.py.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from vpaudit.base import stats
from vpaudit.base.labels import METRICS
from vpaudit.privacy import success as theorem
from vpaudit.privacy.small_ball import kappa_limit_mse

KEYS = ["prior", "attack", "metric", "mu"]
RARE, COMMON = 1e-3, 0.5  # shares of unrelated pairs of images within the smallest and the largest threshold
PUBLIC = 2000  # public images at most, of which all pairs are compared


@dataclass(frozen=True)
class Counts:
    """Successes of an attack in a metric at one mu, over K thresholds, beside those on one kind of reference release.

    Attributes:
        key: values of `KEYS`; reference: "noise" or "mean".
        eta: (K,) distances; real, null: (K,) successes, of `trials` releases each.
        separation: rho of privacy/success.py, one number, or (n,) one a target.
    """

    key: tuple
    reference: str
    eta: np.ndarray
    real: np.ndarray
    null: np.ndarray
    trials: tuple[int, int]
    separation: float | np.ndarray


def distance(value, metric: str):
    """How far an output is from its target, >= 0, rising: the metric, or 1 - metric of a similarity."""
    return 1 - value if METRICS[metric].higher_is_better else value


def thresholds(baselines: pd.DataFrame, metric: str, count: int) -> np.ndarray:
    """(K,) distances within which a share `RARE` to `COMMON` of unrelated pairs of images are.

    They depend on images alone, on no attack and no noise, so that the largest of K statistics needs Bonferroni over K.
    """
    t = baselines[(baselines["kind"] == "test_vs_test") & (baselines["metric"] == metric)]
    return np.quantile(distance(t["value"].to_numpy(), metric), np.geomspace(RARE, COMMON, count))


def counts(metrics: pd.DataFrame, references: pd.DataFrame, baselines: pd.DataFrame, levels: int) -> list[Counts]:
    """Successes of every attack that was measured on reference releases; of several draws on a release the first."""
    eta = {metric: thresholds(baselines, metric, levels) for metric in references["metric"].unique()}
    real = dict(iter(metrics[metrics["draw"] == 0].groupby(KEYS)["value"]))
    return [_counts(key, rows, real[key[:4]], eta[key[2]]) for key, rows in references.groupby([*KEYS, "reference"])]


def _counts(key: tuple, rows: pd.DataFrame, real: pd.Series, eta: np.ndarray) -> Counts:
    hits = [(distance(values.to_numpy(), key[2])[:, None] <= eta).sum(axis=0) for values in (real, rows["value"])]
    rho = rows.drop_duplicates("image")["separation"].to_numpy()
    return Counts(key[:4], key[4], eta, *hits, (len(real), len(rows)), float(rho[0]) if np.ptp(rho) == 0 else rho)


def tested(found: list[Counts]) -> pd.DataFrame:
    """Every cell (attack, metric, mu, reference, eta) against the theorem's bound, all of them tested together.

    Returns:
        `KEYS`, reference, eta (of the metric, not of its distance), real with low and high, bound with bound_low and
        bound_high (both intervals 95 % for the cell alone), violated (at limits for all cells together).
    """
    cells, tables = sum(len(c.eta) for c in found), [pd.DataFrame(columns=[*KEYS, "violated"])]
    for c in found:
        low, high = stats.clopper_pearson(c.real, c.trials[0])
        limits = stats.clopper_pearson(c.null, c.trials[1])
        test = theorem.success_test(c.key[3], c.real, c.null, c.trials, cells, c.separation)
        bounds = [theorem.success_limit(c.key[3], limit, c.separation) for limit in limits]
        tables.append(pd.DataFrame({
            **dict(zip(KEYS, c.key)), "reference": c.reference, "eta": distance(c.eta, c.key[2]),
            "real": test.real, "low": low, "high": high,
            "bound": test.bound, "bound_low": bounds[0], "bound_high": bounds[1], "violated": test.violated,
        }))  # fmt: skip
    return pd.concat(tables[len(found) > 0 :], ignore_index=True)


def visual(found: list[Counts]) -> pd.DataFrame:
    """Visual mu of every attack, metric and mu.

    Each reference gives a lower limit at level 1 - 0.05 / their number, so the highest of them holds at 95 %.

    Returns:
        `KEYS`, value (an estimate, at most mu unless low is above it), low and reference, of the reference whose limit
        is highest; shown: the limit for all cells together, above mu exactly where `tested` calls a violation.
    """
    kinds, cells = len({c.reference for c in found}), sum(len(c.eta) for c in found)
    rows = []
    for c in found:
        value, low = _visual(c, kinds)
        rows.append((*c.key, value, low, c.reference, _visual(c, cells / len(c.eta))[1]))
    table = pd.DataFrame(rows, columns=[*KEYS, "value", "low", "reference", "shown"])
    table["value"] = table[["value", "mu"]].min(axis=1).clip(lower=table["low"])
    table["shown"] = table.groupby(KEYS)["shown"].transform("max")
    return table.sort_values(["low", "value"]).groupby(KEYS).tail(1).sort_values(KEYS, ignore_index=True)


def _visual(c: Counts, together: float) -> tuple[float, float]:
    """Value and lower limit, one of so many that hold together."""
    level = 1 - (1 - stats.LEVEL) / together
    return theorem.visual_mu(c.real, c.null, c.trials, c.separation, level)


def without_lambda(images: np.ndarray, eta: np.ndarray, mu: float) -> np.ndarray:
    """(K,): the most often any attack that is told nothing of its target can be within eta of it, in squared error.

    Args:
        images: (n, ...) public images in [-1, 1], of the targets' law.
        eta: (K,) mean squared errors.
    """
    flat = images.reshape(len(images), -1)
    squares = np.square(flat).sum(axis=1)
    mse = np.maximum(squares[:, None] + squares - 2 * flat @ flat.T, 0) / flat.shape[1]
    return theorem.success_limit(mu, kappa_limit_mse(mse, flat.shape[1], eta))
