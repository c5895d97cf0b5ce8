"""Intervals over images, seeded, so that the same table gives the same interval; and the rules drawn from them.

Every interval here is tested by simulation to hold the truth in at least 93 % of cases where 95 % is stated, with 24
images as with 128, also for skewed values (tests/unit/test_intervals.py).
"""

import numpy as np
from scipy.optimize import brentq
from scipy.sparse import csr_array
from scipy.special import betainccinv, betaincinv, kl_div, ndtr, ndtri, stdtr, stdtrit  # scipy.stats loads slowly

from vpaudit.base import checks
from vpaudit.base.errors import VpauditError

LEVEL = 0.95
RESAMPLES = 2000
FEW = 8  # images; below, resamples say little: Student's t
NEAR = 2e-3  # share by which two values differ whose order counts whole: closer ones tie in part
TINY = 1e-12  # values much below it count as 0 when they are ranked
FIT_ROUNDS = 30  # of least squares by turns: with 4 random partners each leaves at most 3/4 of the error


def bootstrap(values: np.ndarray, statistic=None, seed: int = 0, resamples: int = RESAMPLES, level: float = LEVEL):
    """Bootstrap over the first axis (images): bootstrap-t for the mean, BCa for any other statistic but a `ratio`.

    A percentile interval of skewed values covers 81 to 91 % at 24 images. Bootstrap-t takes quantiles of each
    resample's distance from the mean in units of its own standard error; BCa corrects a percentile interval for bias
    and skewness (Efron & Tibshirani 1993, 12.5 and 14.3), here widened for few images by Student's t (Hesterberg 2015).

    Args:
        values: (N, ...) one row an image; rows are resampled together, so columns stay paired.
        statistic: maps resampled rows (N, ...) to a number or an array; None is the mean over images.

    Returns:
        (value, low, high), floats, or arrays over the remaining axes.
    """
    values = np.asarray(values, dtype=float)
    picks = np.random.default_rng(seed).integers(len(values), size=(resamples, len(values)))
    if statistic is None:
        return _bootstrap_t(values, np.ones_like(values), picks, level)
    return _bca(values, statistic, picks, level)


def ratio(above: np.ndarray, below: np.ndarray, seed: int = 0, resamples: int = RESAMPLES, level: float = LEVEL):
    """(value, low, high) of mean(above) / mean(below), (N, ...) each, paired by image: bootstrap-t.

    BCa of such a ratio covers 88 % at 24 images where both are skewed.
    """
    above, below = (np.asarray(v, dtype=float) for v in (above, below))
    picks = np.random.default_rng(seed).integers(len(above), size=(resamples, len(above)))
    return _bootstrap_t(above, below, picks, level)


def _bootstrap_t(above, below, picks, level):
    """Of a ratio of means, its standard error that of above - ratio * below; a mean is one whose `below` is 1."""
    count, shape = len(above), above.shape[1:]
    a, b = above.reshape(count, -1), below.reshape(count, -1)
    value = a.mean(axis=0) / b.mean(axis=0)
    rest = a - value * b
    squares, scale = (rest**2).sum(axis=0) / max(count - 1, 1), b.mean(axis=0)
    error = np.sqrt(squares / count) / scale
    if count < FEW:
        reach = stdtrit(max(count - 1, 1), (1 + level) / 2) * np.stack([error, -error])
    else:
        counts = np.stack([np.bincount(p, minlength=count) for p in picks]) / count
        below = np.where(counts @ b == 0, np.nan, counts @ b)
        moved = counts @ rest / below
        spread = counts @ rest**2 - 2 * moved * (counts @ (rest * b)) + moved**2 * (counts @ b**2)
        alike = spread <= 1e-12 * squares  # nothing but one value: no standard error
        scaled = np.where(alike, np.nan, moved * below / np.sqrt(np.where(alike, 1, spread) / (count - 1)))
        scaled[:, alike.all(axis=0)] = 0.0
        reach = error * np.nanquantile(scaled, [(1 + level) / 2, (1 - level) / 2], axis=0)
    return tuple(v.reshape(shape)[()] for v in (value, value - reach[0], value - reach[1]))


def _bca(values, statistic, picks, level):
    value, draws = np.asarray(statistic(values)), np.array([statistic(values[p]) for p in picks], dtype=float)
    tails = np.array([(1 - level) / 2, (1 + level) / 2])
    count = len(values)
    if count < FEW:
        return value[()], *np.nanquantile(draws, tails, axis=0)
    left_out = np.array([statistic(np.delete(values, i, axis=0)) for i in range(count)], dtype=float)
    pull = np.nanmean(left_out, axis=0) - left_out
    squares = np.nansum(pull**2, axis=0)
    skew = np.nansum(pull**3, axis=0) / (6 * np.where(squares > 0, squares, 1) ** 1.5)
    below = np.nanmean(np.where(np.isnan(draws), np.nan, (draws < value) + 0.5 * (draws == value)), axis=0)
    shift = ndtri(np.clip(np.nan_to_num(below, nan=0.5), 1 / len(draws), 1 - 1 / len(draws)))
    wide = np.sqrt(count / (count - 1)) * stdtrit(count - 1, tails)
    places = [ndtr(shift + (shift + z) / (1 - skew * (shift + z))) for z in wide]
    return value[()], *(_quantile(draws, place) for place in places)


def _quantile(draws, place):
    """The quantile at `place` (...) of draws (R, ...), each element at its own place; NaN draws left out."""
    flat, place = draws.reshape(len(draws), -1), np.broadcast_to(place, draws.shape[1:]).reshape(-1)
    found = [np.nanquantile(column, p) for column, p in zip(flat.T, place)]
    return np.reshape(found, draws.shape[1:])[()]


def rank_correlation(estimated: np.ndarray, achieved: np.ndarray, seed: int, resamples: int = 2000, level=0.95):
    """`spearman` over images with a bootstrap interval.

    Args:
        estimated, achieved: (N,) each.

    Returns:
        (value, low, high).
    """
    count = len(estimated)
    picks = np.random.default_rng(seed).integers(count, size=(resamples, count))
    counts = np.stack([np.bincount(p, minlength=count) for p in picks])
    low, high = np.nanquantile(spearman(estimated, achieved, counts), [(1 - level) / 2, (1 + level) / 2])
    return float(spearman(estimated, achieved)), float(low), float(high)


def spearman(a: np.ndarray, b: np.ndarray, counts: np.ndarray | float = 1.0) -> np.ndarray:
    """Spearman's rho in which near ties share their ranks: values within `NEAR` of each other are tied in part.

    Of two values the order counts in proportion to their relative difference, up to `NEAR`, from where on it counts
    whole. So rho is continuous: values that move by a relative e move no rank by more than (2 e / NEAR) times the
    number of values within `NEAR`. Spearman's own rho jumps where two values change places, as round-off of another
    processor makes them, and rounding before ranking jumps as well, where a value crosses a boundary.

    Args:
        a, b: (N,) each; counts: (..., N) how often each pair occurs.

    Returns:
        (...), NaN where all values of one side are alike.
    """
    counts = np.broadcast_to(counts, np.broadcast_shapes(np.shape(counts), np.shape(a)))
    a, b = (_centred_ranks(np.asarray(v, dtype=float), counts) for v in (a, b))
    with np.errstate(invalid="ignore"):
        return (counts * a * b).sum(-1) / np.sqrt((counts * a**2).sum(-1) * (counts * b**2).sum(-1))


def _centred_ranks(values, counts):
    """(..., N): how many values lie below each one, less how many lie above it, near ones in part."""
    at = np.arcsinh(values / TINY) / NEAR  # log of the size, with the sign of the value
    at -= np.median(at)
    order = np.argsort(at)
    start, stop = np.searchsorted(at[order], at - 1), np.searchsorted(at[order], at + 1)
    number, total = (
        np.concatenate([np.zeros((*v.shape[:-1], 1)), np.cumsum(v[..., order], axis=-1)], axis=-1)
        for v in (counts, counts * at)
    )
    near = at * (number[..., stop] - number[..., start]) - (total[..., stop] - total[..., start])
    return np.round(number[..., start] + number[..., stop] - number[..., -1:] + near, 6)  # ties are exact ties


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
    half = float(stdtrit(len(values) - 1, (1 + level) / 2) * error)
    return mean, mean - half, mean + half, float(2 * stdtr(len(values) - 1, -abs(mean) / error))


def holm(p: np.ndarray) -> np.ndarray:
    """p values adjusted for their number by Holm's method (1979), each at most 1."""
    p = np.asarray(p, dtype=float)
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p))))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted


def clopper_pearson(successes, trials, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """Two-sided limits of a probability; each side alone holds at (1 + level) / 2. Arrays broadcast.

    Exact for independent trials of one probability, and safe for trials of different probabilities about their mean
    (Hoeffding 1956): targets may be fixed images with several releases each.
    """
    successes, trials = np.broadcast_arrays(*checks.non_negative(successes=successes, trials=trials))
    if np.any(successes > trials):
        raise VpauditError(
            f"successes={successes.max():g} of trials={trials.min():g}", "give at most as many successes as trials"
        )
    tail = (1 - level) / 2
    low = np.where(successes == 0, 0.0, betaincinv(np.maximum(successes, 1), trials - successes + 1, tail))
    high = np.where(successes == trials, 1.0, betainccinv(successes + 1, np.maximum(trials - successes, 1), tail))
    return low, high


def counted(chances: np.ndarray) -> dict[str, float]:
    """The mean of chances of success, each 0 or 1 or in between, with a 95 % interval: value, low, high.

    That of so many successes of 0 or 1, rounded outwards, which of all chances with this mean vary most.
    """
    total = np.sum(chances)
    low, high = clopper_pearson(np.array([np.floor(total), np.ceil(total)]), len(chances))
    return {"value": float(np.mean(chances)), "low": float(low[0]), "high": float(high[1])}


def pair_mean_limit(values: np.ndarray, confidence: float = LEVEL) -> float:
    """Upper confidence limit of E k(Z, Z') from a symmetric matrix (n, n) of k in [0, 1]; the diagonal is not read.

    The mean over pairs is a U-statistic: an average over orderings of means of floor(n / 2) independent pairs, so
    `mean_limit` of those holds for it (Hoeffding 1963, 5b). No assumption but independent images, at any n.
    """
    values = np.asarray(values, dtype=float)
    count = len(values)
    return mean_limit((values.sum() - np.trace(values)) / (count * (count - 1)), count // 2, confidence)


def mean_limit(mean: float, count: int, confidence: float = LEVEL) -> float:
    """Upper confidence limit of the expectation of values in [0, 1] from the mean of `count` independent ones.

    The largest p at which count KL(mean || p) <= ln 1 / (1 - confidence): Chernoff's bound, as Hoeffding (1963) has it
    for any values in [0, 1].
    """
    budget = -np.log1p(-confidence) / count

    def excess(p):
        return kl_div(mean, p) + kl_div(1 - mean, 1 - p) - budget  # scipy's kl_div sums to KL for probabilities

    return 1.0 if mean >= 1 or excess(1 - 1e-15) < 0 else float(brentq(excess, max(mean, 1e-300), 1 - 1e-15))


def projected(values: np.ndarray, partners: np.ndarray) -> np.ndarray:
    """(n, ...): one value an image for a mean over pairs of images, so that an interval over images is one of the mean.

    A pair's value depends on both of its images, so means over the partners of each image depend on one another, and
    their bootstrap covers 80 % instead of 95. Image i's part in the mean over pairs (Hoeffding's projection) is
    mean + a_i + b_i, where a_i is what it adds as the first of a pair and b_i as the second. From three partners on,
    a and b are those that fit the pairs best (least squares), so that how hard an image's few partners happen to be
    adds nothing to its own part; with fewer they cannot be told apart, and are the means over its pairs.

    Args:
        values: (m, n, ...) of image i with its k-th partner; partners: int (m, n), each image m times among them.
    """
    values, partners = np.asarray(values, dtype=float), np.asarray(partners)
    number, count = partners.shape
    mean = values.mean(axis=(0, 1))
    rest = (values - mean).reshape(number, count, -1)
    places = (partners.reshape(-1), np.arange(number * count))
    of_second = csr_array((np.full(number * count, 1 / number), places), shape=(count, number * count))

    def second(left):
        return of_second @ left.reshape(number * count, -1)

    a, b = rest.mean(axis=0), second(rest)
    for _ in range(FIT_ROUNDS if number >= 3 else 0):
        b = second(rest - a)
        a = (rest - b[partners]).mean(axis=0)
    return mean + (a + b).reshape(values.shape[1:])


def share_recovered(own: np.ndarray, others: np.ndarray, level: float = LEVEL):
    """1 - E own / E others with Fieller's interval: the shares s at which the mean of own - (1 - s) others could be 0.

    Args:
        own: (n, ...) distance of each output to its target; others: (n, ...) to other targets, `projected` where these
            are targets of the same study.

    Returns:
        (value, low, high) over the remaining axes; the two-sided interval of level 0.9 ends at the upper 95 % limit.
    """
    own, others = np.asarray(own, dtype=float), np.asarray(others, dtype=float)
    count, a, b = len(own), own.mean(axis=0), others.mean(axis=0)
    square = stdtrit(count - 1, (1 + level) / 2) ** 2 / count
    of_own, of_others = square * own.var(axis=0, ddof=1), square * others.var(axis=0, ddof=1)
    both = square * ((own - a) * (others - b)).sum(axis=0) / (count - 1)
    leading, middle, last = b**2 - of_others, a * b - both, a**2 - of_own
    with np.errstate(invalid="ignore"):  # others not told from 0: no interval
        half = np.sqrt(np.maximum(middle**2 - leading * last, 0)) / leading
        ratio, bounded = middle / leading, leading > 0
    low = np.where(bounded, 1 - ratio - half, -np.inf)
    return 1 - a / b, low[()], np.where(bounded, np.minimum(1 - ratio + half, 1), 1.0)[()]  # no distance is below 0


def end_of_reconstruction(mu, upper, margin: float) -> float:
    """The largest mu up to which less than `margin` of the distance between images is recovered, shown by a test.

    A non-inferiority test at each mu, from the smallest on: at the first mu whose upper limit reaches the margin it
    stops, so no correction for their number is needed (a fixed sequence of hypotheses). In the population recovery is
    above 0 at every mu > 0, so an end needs a margin; few images have wide limits and give a smaller, safer mu.

    Args:
        mu: (K,) rising; upper: (K,) upper 95 % limits of `share_recovered`; margin: in (0, 1).

    Returns:
        mu, interpolated in log mu where the limit crosses the margin; NaN if it does so below the grid.
    """
    mu, upper = np.asarray(mu, dtype=float), np.asarray(upper, dtype=float)
    reached = np.flatnonzero(~(upper < margin))
    if not len(reached):
        return float(mu[-1])
    i = reached[0]
    if i == 0:
        return float("nan")
    share = (margin - upper[i - 1]) / (upper[i] - upper[i - 1]) if np.isfinite(upper[i]) else 0.0
    return float(np.exp(np.log(mu[i - 1]) + share * np.log(mu[i] / mu[i - 1])))


def contradicted(value, low, high, limit: float, above: bool, level: float = LEVEL) -> np.ndarray:
    """bool (K,): where a course that should be above (or below) a limit at every mu lies on its other side.

    Of K intervals of level 95 % that touch the limit in truth, one lies wholly beyond it in up to 1 - 0.975^K of cases,
    20 % for K = 9. Here the chance of any false contradiction is (1 - level) / 2 in all: p values from each interval's
    own half on the limit's side, normal, with Holm's correction.
    """
    value, edge = np.asarray(value, dtype=float), np.asarray(high if above else low, dtype=float)
    error = np.abs(edge - value) / ndtri((1 + level) / 2)
    beyond = limit - value if above else value - limit
    with np.errstate(divide="ignore", invalid="ignore"):
        p = np.where(error > 0, ndtr(-beyond / error), np.where(beyond > 0, 0.0, 1.0))
    return holm(np.nan_to_num(p, nan=1.0)) <= (1 - level) / 2


def share_of_range(mu, holds) -> float:
    """Share of the range of log mu at which something holds: each mu stands for the range half-way to its neighbours.

    Unlike the share of the grid's points it does not change much when points are added to the grid.
    """
    at = np.log(np.asarray(mu, dtype=float))
    if len(at) == 1:
        return float(np.mean(holds))
    edges = np.concatenate([at[:1], (at[1:] + at[:-1]) / 2, at[-1:]])
    return float(np.diff(edges) @ np.asarray(holds, dtype=float) / (at[-1] - at[0]))
