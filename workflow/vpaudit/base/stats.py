"""Intervals: bootstrap over images, seeded, so that the same table gives the same interval."""

import numpy as np
from scipy.stats import rankdata, wilcoxon
from scipy.stats import t as student

LEVEL = 0.95
RESAMPLES = 2000


def bootstrap(values: np.ndarray, statistic=None, seed: int = 0, resamples: int = RESAMPLES, level: float = LEVEL):
    """Percentile bootstrap over the first axis (images).

    Args:
        values: (N, ...) one row an image; rows are resampled together, so columns stay paired.
        statistic: maps (..., N, ...) resampled rows on axis 0 of each resample to a number; None is the mean over
            images, for which `values` may have further axes.

    Returns:
        (value, low, high), floats, or arrays over the remaining axes for the mean.
    """
    values = np.asarray(values, dtype=float)
    picks = np.random.default_rng(seed).integers(len(values), size=(resamples, len(values)))
    if statistic is None:
        counts = np.stack([np.bincount(p, minlength=len(values)) for p in picks]) / len(values)
        draws = counts @ values.reshape(len(values), -1)
        low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
        shape = values.shape[1:]
        return values.mean(axis=0), low.reshape(shape), high.reshape(shape)
    draws = np.array([statistic(values[p]) for p in picks])
    low, high = np.nanquantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return statistic(values), low, high


def rank_correlation(estimated: np.ndarray, achieved: np.ndarray, seed: int, resamples: int = 2000, level=0.95):
    """Spearman correlation over images with a bootstrap interval.

    Args:
        estimated, achieved: (N,) each.

    Returns:
        (value, low, high).
    """
    picks = np.random.default_rng(seed).integers(len(estimated), size=(resamples, len(estimated)))
    values = _row_spearman(estimated[picks], achieved[picks])
    low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(_row_spearman(estimated[None], achieved[None])[0]), float(low), float(high)


def _row_spearman(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = (rankdata(v, axis=1) for v in (a, b))
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    with np.errstate(invalid="ignore"):
        return (a * b).sum(1) / np.sqrt((a**2).sum(1) * (b**2).sum(1))


def t_interval(values: np.ndarray, level: float = LEVEL) -> tuple[float, float, float, float]:
    """(mean, low, high, p) of few independent values by Student's t; p of a mean of 0, two-sided.

    A single value has no interval and p = 1; values that are all alike have p = 1 where they are 0, else 0.
    """
    values = np.asarray(values, dtype=float)
    mean = float(values.mean())
    if len(values) < 2:
        return mean, mean, mean, 1.0
    error = values.std(ddof=1) / np.sqrt(len(values))
    if error == 0:
        return mean, mean, mean, float(mean == 0)
    half = float(student.ppf((1 + level) / 2, len(values) - 1) * error)
    return mean, mean - half, mean + half, float(2 * student.sf(abs(mean) / error, len(values) - 1))


def holm(p: np.ndarray) -> np.ndarray:
    """p values adjusted for their number by Holm's method (1979), each at most 1."""
    p = np.asarray(p, dtype=float)
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p))))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted


def crossing(mu: list[float], gap: np.ndarray) -> float:
    """The mu at which gap (> 0: attack better than unrelated) last becomes positive, linear in log mu.

    The grid's first value if the gap is positive throughout, NaN if it is not positive at the grid's end.
    """
    if gap[-1] <= 0:
        return float("nan")
    below = np.flatnonzero(gap <= 0)
    if not len(below):
        return float(mu[0])
    i = below[-1]
    share = -gap[i] / (gap[i + 1] - gap[i])
    return float(np.exp(np.log(mu[i]) + share * (np.log(mu[i + 1]) - np.log(mu[i]))))


def last_indistinct(mu: list[float], gap: np.ndarray, level: float = 0.05) -> float:
    """The largest mu at which gaps (n, K) of n images are not shown to be positive: NaN if they are at every mu.

    One-sided Wilcoxon signed-rank test at each mu, with Holm's correction over the grid.
    """
    p = np.array([wilcoxon(column, alternative="greater").pvalue if np.any(column) else 1.0 for column in gap.T])
    shown = holm(p) <= level
    return float("nan") if shown.all() else float(np.asarray(mu)[~shown].max())
