"""Reconstruction advantage: what a release adds to an attack's success (Guerra-Balboa et al. 2603.12142).

Reconstruction robustness bounds success itself, by gamma(kappa), kappa the success of an adversary that knows only the
prior. An adversary that is told something of its target, a = a(Z), may break it: told the whole record, as in
membership inference, it can always answer that record, at any budget. Their measure takes off what an adversary
reaches without the record in question:

    advantage = P(d(Z, R(y_Z, a(Z))) <= eta) - P(d(Z, R(y', a(Z))) <= eta)

where y' is a release without the record (add or remove), or one that holds another record Z' of the prior in its place
(replace). Bounds, f the trade-off curve between the two releases and g = 1 - f, gamma(p) = g(p):

    at a baseline    g(p) - p, p the success without: `success` and `at_baseline`
    any knowledge    (1 - P(Z = Z')) max over p of g(p) - p, their theorem 4.2; the factor only for replace
    none of Z        (1 - P(Z = Z')) max of g(p) - p over p <= kappa / (1 - P(Z = Z')), their theorem 5.1: by
                     Jensen over pairs (g - p is concave), as without knowledge p is at most kappa on average

g of Poisson sampling is that of `rero.gamma_poisson`, the direction in which the record is there or not. Replacing one
is at most removing it and adding another, g_replace(p) <= g_add(g_remove(p)); for the full batch it is mu' = 2 mu.
max g - p is the total variation, delta(epsilon = 0), what membership inference can gain at most.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import ndtr, ndtri

from vpaudit.base import checks
from vpaudit.base.errors import VpauditError
from vpaudit.privacy.accounting import PrivacyCurve, check_training, pld_interval, poisson_curves
from vpaudit.privacy.rero import KAPPA_MIN


@dataclass(frozen=True)
class Advantage:
    """Bounds on success and advantage of T steps at one baseline.

    Attributes:
        baseline: success without the record; success: at most this with it; at_baseline: the difference.
        knowing_anything: the most the difference can be at any baseline; knowing_nothing: for an adversary told nothing
            of the record, whose baseline is at most the one given.
    """

    baseline: float
    success: float
    at_baseline: float
    knowing_anything: float
    knowing_nothing: float


def advantage(
    noise_multiplier: float, sample_rate: float, steps: int, baseline: float, replace: bool = False, same: float = 0.0
) -> Advantage:
    """Success and advantage of any reconstruction, membership or attribute attack on T steps.

    Args:
        noise_multiplier, sample_rate, steps: of the run, as in `accounting.epsilon_poisson`.
        baseline: kappa, success without the record, in [1e-9, 1): measured (`success`), 1 / n among n candidates, the
            share of the commonest value of an attribute, or `small_ball.kappa_limit`.
        replace: the release without the record holds another one in its place, twice the distance.
        same: P(Z = Z'), the chance that the other record is the same one, 1 / n among n candidates; only for replace.
    """
    noise_multiplier, sample_rate, steps = check_training(noise_multiplier, sample_rate, steps)
    baseline = float(checks.within(KAPPA_MIN, 1 - KAPPA_MIN, baseline=baseline))
    same = float(checks.closed_probability(same=same))
    if same and not replace:
        raise VpauditError(f"same={same:g} without replace", "a release without a record holds no other one")
    power = _power(noise_multiplier, sample_rate, steps, replace)
    most = minimize_scalar(
        lambda z: ndtr(z) - power(ndtr(z)), bounds=(-6, 6), method="bounded", options={"xatol": 1e-7}
    )
    peak, total = float(ndtr(most.x)), -float(most.fun)
    reach = min(baseline / (1 - same), peak) if same < 1 else peak
    success = float(power(baseline))
    return Advantage(
        baseline, success, success - baseline, (1 - same) * total, (1 - same) * float(power(reach) - reach)
    )


def _power(noise_multiplier, sample_rate, steps, replace):
    """g: the most success with the record, as a function of success without."""
    if sample_rate == 1:
        mu = (2 if replace else 1) * np.sqrt(steps) / noise_multiplier
        return lambda p: ndtr(mu + ndtri(p))
    remove, add = poisson_curves(
        noise_multiplier, sample_rate, steps, pld_interval(noise_multiplier, sample_rate, steps)
    )
    if not replace:
        return lambda p: _at(remove, p)
    return lambda p: _at(remove, _at(add, p))


def _at(curve: PrivacyCurve, p: float) -> float:
    return curve.true_positive_rate(min(max(p, KAPPA_MIN), 1.0))
