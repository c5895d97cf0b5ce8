"""Reconstruction robustness of sampled steps by simulation, to hold the privacy loss distribution's against."""

import numpy as np
from scipy.stats import norm

from vpaudit.privacy.rero import ReRo


def gamma(noise_multiplier, sample_rate, steps, kappa, samples=10_000, seed=0, confidence=0.95) -> ReRo:
    """Hayes et al.'s estimator: gamma = 1 - (1 - kappa) mean(lowest (1 - kappa) share of the ratios P/Q under Q).

    With t the (1 - kappa)-quantile of the ratio r, that is 1 - E[min(r, t)] + t kappa, so the standard error is
    std(min(r, t)) / sqrt(samples); the interval is normal. Same seed, same result.
    """
    ratios = np.sort(_log_ratios(noise_multiplier, sample_rate, steps, samples, np.random.default_rng(seed)))
    count = int(samples * (1 - kappa))
    lowest = np.exp(ratios[:count])
    value = 1 - (1 - kappa) * lowest.mean()
    capped = np.append(lowest, np.full(samples - count, lowest[-1]))
    half = norm.ppf(0.5 + confidence / 2) * capped.std() / np.sqrt(samples)
    return ReRo(*(float(np.clip(v, 0, 1)) for v in (value, value - half, value + half)))


def _log_ratios(noise_multiplier, sample_rate, steps, samples, rng, chunk=4_000_000):
    """(samples,) log P/Q of T steps under Q, a few steps at a time."""
    total = np.zeros(samples)
    width = max(1, chunk // samples)
    rest = np.log1p(-sample_rate) if sample_rate < 1 else -np.inf
    for start in range(0, steps, width):
        x = rng.standard_normal((samples, min(width, steps - start)))
        signal = np.log(sample_rate) + (x - 0.5 / noise_multiplier) / noise_multiplier
        total += np.logaddexp(rest, signal).sum(axis=1)
    return total
