"""How often an attack may succeed, as a theorem for any attack, distance and side information; and what it makes of mu.

An attack R succeeds on target Z at eta if d(Z, R(y, a)) <= eta, where a = a(Z) is what it is told, such as lambda. Held
against it is the same attack, told the same a, on a release that does not hold the target: y = sigma W.

    P_real(eta) <= Phi(mu + Phi^-1(P_null(eta)))                                                          (theorem)

Proof. Fix Z = z. Success is an event {y in E_z} (R's own randomness joins y). Under the release y = lambda z + sigma W
it has probability p_real(z), under y = sigma W p_null(z); both know a(z), which adds nothing once z is fixed. The two
laws are Gaussians |lambda z| / sigma <= C / sigma = mu apart, so by Neyman and Pearson p_real(z) <= g(p_null(z)) with
g(p) = Phi(mu + Phi^-1(p)). g is concave, so E g(p_null(Z)) <= g(E p_null(Z)) (Jensen), over the law of Z or over any
finite set of targets. Equality: an attack that is told which image it is and returns it if <y, z> is large.

Nothing is assumed of R, d or the prior, so a measured violation is a leak or an error. For an attack that is told
nothing of Z, R(sigma W) is independent of Z, and P_null(eta) <= kappa(eta) = sup over z0 of P(d(Z, z0) <= eta): the
bound of Hayes et al. 2302.07225. Told lambda = C / |x|, P_null may be far above kappa: the norm names the image.

Another reference. y = v + sigma W, v any image (the mean image at the target's lambda, a weaker release of the
target) that may depend on Z but not on W: the laws are |lambda z - v| / sigma = rho mu apart, rho = |lambda z - v| / C.
Targets differ in rho, and the bound that holds for their mean success is the power, at level P_reference, of the test
that compares the likelihood ratio with one threshold c for all targets. With delta = rho mu,

    P_reference = E Phi(-c / delta - delta / 2),    P_real <= E Phi(-c / delta + delta / 2)        (theorem, same proof)

since among all levels p(z) of mean P_reference, E Phi(delta + Phi^-1(p)) is largest where its slopes are equal.

Visual mu. The smallest m for which mu = m is not contradicted by the measured successes, the largest over eta:
Phi^-1(P_real) - Phi^-1(P_null) where rho = 1. It is at most mu by the theorem, and tells how much of the budget an
attack turns into success that can be seen, in the budget's own unit. Counts of n releases show at most some
2 Phi^-1(1 - 3 / n): 4.3 for n = 200, 6 for 2,000. A reference at rho < 1 shows 1 / rho times as much.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from vpaudit.base import checks, stats

LEAST_SEPARATION = 1e-6


def success_limit(mu: float, reference, separation=1.0) -> np.ndarray:
    """The most often an attack may succeed on a release of budget mu, if it does with probability `reference` without.

    Args:
        mu: C / sigma >= 0; of T full-batch releases sqrt(T) times that.
        reference: success on the reference release, in [0, 1]; an array too.
        separation: rho = |lambda z - v| / C >= 0, one number, or one for each target (n,); 1 for pure noise.
    """
    mu, reference = float(checks.non_negative(mu=mu)), checks.closed_probability(reference=reference)
    delta = mu * np.maximum(checks.non_negative(separation=separation), LEAST_SEPARATION)
    if mu == 0:
        return reference[()]
    if np.ptp(delta) == 0:
        return ndtr(delta.flat[0] + ndtri(reference))[()]
    return np.vectorize(lambda p: _pooled(delta, p), otypes=[float])(reference)[()]


def _pooled(delta: np.ndarray, reference: float) -> float:
    if reference in (0.0, 1.0):
        return reference
    alone = -delta * (ndtri(reference) + delta / 2)  # c if all targets were like this one: the common one is between
    slack = 1e-9 * (1 + np.abs(alone).max())
    c = brentq(
        lambda c: ndtr(-c / delta - delta / 2).mean() - reference, alone.min() - slack, alone.max() + slack, xtol=1e-13
    )
    return float(ndtr(-c / delta + delta / 2).mean())


@dataclass(frozen=True)
class SuccessTest:
    """Success over K thresholds against the theorem's bound, at one mu.

    Attributes:
        real, bound: (K,) measured success, and the bound at the measured success on the reference.
        real_low, bound_high: (K,) the same at the confidence limits; violated: (K,) bool, real_low > bound_high.
    """

    real: np.ndarray
    bound: np.ndarray
    real_low: np.ndarray
    bound_high: np.ndarray

    @property
    def violated(self) -> np.ndarray:
        return self.real_low > self.bound_high


def success_test(
    mu: float, real, reference, trials: tuple[int, int], cells: int, separation=1.0, level: float = stats.LEVEL
) -> SuccessTest:
    """Test the theorem: the chance that any of `cells` cells is called violated is at most 1 - level if it holds.

    Args:
        real, reference: (K,) numbers of successes; trials: of releases behind each.
        cells: thresholds times budgets (times attacks) tested together: Bonferroni, for both sides of each.
    """
    limits = 1 - 2 * (1 - level) / (2 * cells)  # each side of each interval at (1 - level) / (2 cells)
    real_low, _ = stats.clopper_pearson(real, trials[0], limits)
    _, reference_high = stats.clopper_pearson(reference, trials[1], limits)
    return SuccessTest(
        np.asarray(real) / trials[0],
        success_limit(mu, np.asarray(reference) / trials[1], separation),
        real_low,
        success_limit(mu, reference_high, separation),
    )


def visual_mu(real, reference, trials: tuple[int, int], separation=1.0, level: float = stats.LEVEL):
    """(value, low): the visual mu of an attack, and its lower confidence limit.

    Args:
        real, reference: (K,) numbers of successes over the thresholds eta, which must not be chosen by them: take
            quantiles of the distance between unrelated images.
        trials: of releases behind each; separation: as in `success_limit`.

    Returns:
        value is an estimate (half a success added on each side, the largest over eta, so from above by chance); low
        holds at `level`: Clopper-Pearson on both sides, Bonferroni over eta. Both >= 0.
    """
    real, reference = np.atleast_1d(real), np.atleast_1d(reference)
    limits = 1 - 2 * (1 - level) / (2 * len(real))
    low, _ = stats.clopper_pearson(real, trials[0], limits)
    _, high = stats.clopper_pearson(reference, trials[1], limits)
    guesses = [(k + 0.5) / (n + 1) for k, n in zip((real, reference), trials)]
    return tuple(_budget(*sides, separation) for sides in (guesses, (low, high)))


def _budget(real, reference, separation) -> float:
    """The least mu at which `success_limit` of `reference` (K,) is nowhere below `real` (K,)."""
    gap = np.maximum(ndtri(real) - ndtri(reference), 0.0)  # the mu at separation 1
    least, most = (float(f(np.maximum(separation, LEAST_SEPARATION))) for f in (np.min, np.max))
    if least == most:
        return float(gap.max() / least)
    found = 0.0
    for k in np.argsort(gap)[::-1]:
        if gap[k] / least > found and real[k] > success_limit(found, reference[k], separation):
            ends = max(found, gap[k] / most * (1 - 1e-9)), gap[k] / least * (1 + 1e-9)
            found = float(
                brentq(lambda mu, k=k: success_limit(mu, reference[k], separation) - real[k], *ends, xtol=1e-9)
            )
    return found
