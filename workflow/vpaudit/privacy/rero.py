"""Reconstruction robustness: what an adversary who knows a candidate set that holds the target can reach at most.

A mechanism is (eta, gamma)-ReRo if no adversary comes within eta of the target with probability above gamma (Balle et
al. 2201.04845). With kappa the chance of doing so without looking (1/n for n equally likely candidates), Q the law of
the release without the target and P with it, gamma = sup{P(E): Q(E) <= kappa} (Hayes et al. 2302.07225): the power of
the best test at level kappa. One unit of sensitivity, noise multiplier nm = sigma / C, adding or removing the target:

    full batch, mu = sqrt(T) / nm:  gamma = Phi(mu + Phi^-1(kappa))        (Kaissis et al. 2307.03928)
    Poisson, one step, mu = 1/nm:   gamma = (1 - q) kappa + q Phi(mu + Phi^-1(kappa))
    Poisson, T steps:               the trade-off curve of the composed privacy loss distribution, or Monte Carlo
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import log_ndtr, ndtr, ndtri

from vpaudit.base import checks
from vpaudit.base.errors import VpauditError
from vpaudit.privacy.accounting import check_training, pld_interval, poisson_curves

KAPPA_MIN = 1e-9  # of the PLD: below it the round-off of its Fourier transforms would show


@dataclass(frozen=True)
class ReRo:
    """gamma and the interval it lies in: numerical for the PLD, of the stated confidence for Monte Carlo."""

    gamma: float
    low: float
    high: float


def gamma_of_mu(mu, kappa):
    """gamma = Phi(mu + Phi^-1(kappa)), exact for full-batch Gaussian releases; mu >= 0, kappa in (0, 1), arrays too."""
    return ndtr(checks.non_negative(mu=mu) + ndtri(checks.probability(kappa=kappa)))


def mu_of_gamma(gamma, kappa):
    """The mu at which the bound reaches gamma: Phi^-1(gamma) - Phi^-1(kappa), for kappa <= gamma < 1."""
    gamma, kappa = checks.probability(gamma=gamma, kappa=kappa)
    if np.any(gamma < kappa):
        raise VpauditError(
            f"gamma={np.min(gamma):g} is below kappa={np.max(kappa):g}", "guessing reaches kappa: give gamma >= kappa"
        )
    return ndtri(gamma) - ndtri(kappa)


def gamma_one_step(mu, kappa, sample_rate):
    """gamma of one Poisson-sampled step, mu = 1/nm >= 0, exact: the target takes part with probability q in (0, 1]."""
    sample_rate, kappa = checks.share(sample_rate=sample_rate), checks.probability(kappa=kappa)
    return (1 - sample_rate) * kappa + sample_rate * gamma_of_mu(mu, kappa)


def gamma_poisson(noise_multiplier: float, sample_rate: float, steps: int, kappa: float) -> ReRo:
    """gamma of T Poisson-sampled steps from dp-accounting's privacy loss distribution.

    P and Q are the composed `remove` pair in the direction of the definition; nothing is symmetrised. `high` is the
    pessimistic discretisation, an upper bound (plus round-off). Its error is of second order in the grid spacing, so
    the same on a grid twice as wide gives the error e: gamma = high - e is extrapolated, low = high - 3 e. Exact, with
    low = high, for sample_rate = 1 or steps = 1.

    Args:
        noise_multiplier: in [0.01, 1e4]; sample_rate: (0, 1]; steps: 1 to 1e6; kappa: [1e-9, 1).
    """
    noise_multiplier, sample_rate, steps = check_training(noise_multiplier, sample_rate, steps)
    kappa = float(checks.within(KAPPA_MIN, 1 - KAPPA_MIN, kappa=kappa))
    if sample_rate == 1 or steps == 1:
        gamma = float(gamma_one_step(np.sqrt(steps) / noise_multiplier, kappa, sample_rate))
        return ReRo(gamma, gamma, gamma)
    interval = pld_interval(noise_multiplier, sample_rate, steps)
    fine, coarse = (
        poisson_curves(noise_multiplier, sample_rate, steps, factor * interval)[0].true_positive_rate(kappa)
        for factor in (1, 2)
    )
    error, round_off = max(coarse - fine, 0.0) / 3, 1e-11 + 1e-15 * steps
    low, high = fine - 3 * error - round_off, fine + round_off
    return ReRo(max(fine - error, kappa), max(low, kappa), min(high, 1.0))


def matched_filter_success(mu, candidates):
    """E[Phi(Z + mu)^(n-1)]: top-1 success of the matched filter among n orthogonal candidates of equal norm.

    The target's score is mu + Z, that of each other an independent standard normal. Exact up to 1e-10; never above
    `gamma_of_mu(mu, 1/n)`. mu >= 0 and candidates n >= 1 broadcast.
    """
    mu, candidates = checks.non_negative(mu=mu), checks.whole(candidates=candidates)
    z = np.linspace(-12, 12, 9601)
    density = np.exp(-(z**2) / 2) * (z[1] - z[0]) / np.sqrt(2 * np.pi)
    return np.exp((candidates[..., None] - 1) * log_ndtr(z + mu[..., None])) @ density
