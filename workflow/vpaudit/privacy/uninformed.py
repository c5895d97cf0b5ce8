"""What an adversary without any prior reaches: it rescales what it saw and stops (Ziller et al. 2402.12861).

y = lambda x + sigma z, lambda = min(1, C / |x|), sigma = C / mu, so x_hat = y / lambda = x + s z with
s = sigma / lambda = max(|x|, C) / mu: |x| / mu for a clipped image. s is the std per pixel, in the pixel range of x
([-1, 1] here, data range 2). N is the number of pixels, channels counted. With G ~ Gamma(shape N/2, scale 1):

    MSE  = s^2 (2/N) G,    E[MSE] = s^2
    PSNR = 10 log10(R^2 / MSE), R the data range
    NCC  = Pearson correlation of x and x_hat, about (1 + s^2 / Var(x))^(-1/2)

All functions are pure, accept scalars or arrays that broadcast, and raise `VpauditError` for an argument out of range.
"""

import numpy as np
from scipy.special import gammainccinv, gammaincinv, psi

from vpaudit.base import checks
from vpaudit.base.pixels import DATA_RANGE

DECIBEL = 10.0 / np.log(10.0)


def effective_noise(norm, mu, max_grad_norm):
    """s = sigma / lambda = max(|x|, C) / mu, the std per pixel of x_hat = y / lambda.

    Args:
        norm: |x|_2 >= 0 in the pixel range of x; mu: C / sigma > 0; max_grad_norm: C > 0.
    """
    norm = checks.non_negative(norm=norm)
    mu, max_grad_norm = checks.positive(mu=mu, max_grad_norm=max_grad_norm)
    return np.maximum(norm, max_grad_norm) / mu


def mse_mean(s):
    """E[MSE] = s^2, in squared pixel units. s > 0."""
    return checks.positive(s=s) ** 2


def mse_quantile(q, s, pixels):
    """The MSE that a fraction q of reconstructions stay below; q in (0, 1), s > 0, pixels >= 1."""
    q, s, pixels = checks.probability(q=q), checks.positive(s=s), checks.whole(pixels=pixels)
    return s**2 * gammaincinv(pixels / 2, q) * 2 / pixels


def psnr_mean(s, pixels, data_range=DATA_RANGE):
    """E[PSNR] = 10 log10(R^2 / s^2) - (10 / ln 10) (psi(N/2) - ln(N/2)), in dB."""
    s, data_range = checks.positive(s=s, data_range=data_range)
    half = checks.whole(pixels=pixels) / 2
    return 20 * np.log10(data_range / s) - DECIBEL * (psi(half) - np.log(half))


def psnr_quantile(q, s, pixels, data_range=DATA_RANGE):
    """The PSNR in dB that a fraction q of reconstructions stay below; q in (0, 1). A high PSNR is a low MSE."""
    q, pixels = checks.probability(q=q), checks.whole(pixels=pixels)
    s, data_range = checks.positive(s=s, data_range=data_range)
    mse = s**2 * gammainccinv(pixels / 2, q) * 2 / pixels
    return 10 * np.log10(data_range**2 / mse)


def ncc_mean(s, variance):
    """E[NCC] ~ (1 + s^2 / Var(x))^(-1/2), up to O(1/N); `variance` of the pixels about their mean, >= 0."""
    s, variance = checks.positive(s=s), checks.non_negative(variance=variance)
    return np.sqrt(variance / (variance + s**2))


def ncc_upper(mu, pixels):
    """sqrt(1 / (1 + N / mu^2)): `ncc_mean` of a clipped image, at most, for Var(x) <= |x|^2 / N; met at mean 0."""
    mu, pixels = checks.positive(mu=mu), checks.whole(pixels=pixels)
    return mu / np.hypot(mu, np.sqrt(pixels))
