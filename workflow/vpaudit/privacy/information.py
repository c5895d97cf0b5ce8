"""What a release leaks in nats, read off denoising errors, and what a wrong prior costs. Pure functions of curves.

For x ~ p in R^N and the channel x + s z at snr = 1/s^2, with mse_q(s) = E |x - D_q(x + s z)|^2 (summed over pixels) of
a denoiser that is optimal for q, and mmse_p = mse_p:

    I(x; x + s z) = 1/2 integral of mmse_p over snr from 0 to 1/s^2            (Guo, Shamai & Verdu 2005)
    KL(p_s || q_s) = 1/2 integral of (mse_q - mmse_p) over snr from 0 to 1/s^2  (Verdu 2010), p_s the law of x + s z

Any denoiser's error is at least mmse_p, so I from mse_q is from above. Whatever x, I is at most the channel's capacity
at the signal's power and, for covariance C, the Gaussian's: 1/2 ln det(1 + C/s^2).

Images differ in s = |x| / mu, which the adversary that is told lambda knows: I(x; y | lambda) is the mean over images
of the integral of each image's own error up to its own snr.
"""

import numpy as np

from vpaudit.base import checks, stats
from vpaudit.base.errors import VpauditError


def integral_over_snr(s: np.ndarray, error: np.ndarray, at: np.ndarray, start: float | None = None) -> np.ndarray:
    """1/2 integral of `error` over snr from 0 to 1/at^2, in nats.

    Trapezoids in log s of error / s^2 (d snr = -2 / s^2 d log s); from snr 0 to that of the largest s the error is
    taken as constant, `start` or its value at the largest s.

    Args:
        s: (K,) noise levels > 0, any order; error: (K,) at these, summed over pixels; at: (...) within their range.
    """
    s, error, at = (np.asarray(v, dtype=float) for v in (s, error, at))
    order = np.argsort(-s)
    s, error = s[order], error[order]
    if np.any(at < s[-1] * (1 - 1e-9)) or np.any(at > s[0] * (1 + 1e-9)):
        raise VpauditError(
            f"s from {at.min():g} to {at.max():g} asked of a curve over [{s[-1]:g}, {s[0]:g}]",
            "measure the denoiser over a wider range of noise",
        )
    rate = error / s**2
    steps = 0.5 * (rate[1:] + rate[:-1]) * np.log(s[:-1] / s[1:])
    first = 0.5 * (error[0] if start is None else start) / s[0] ** 2
    running = first + np.concatenate([[0.0], np.cumsum(steps)])
    return np.interp(-np.log(at), -np.log(s), running)


def capacity(mu, pixels):
    """(N/2) ln(1 + mu^2 / N) <= mu^2 / 2 nats: of any clipped image, |lambda x| <= C. mu >= 0, pixels >= 1."""
    mu, pixels = checks.non_negative(mu=mu), checks.whole(pixels=pixels)
    return pixels / 2 * np.log1p(mu**2 / pixels)


def gaussian_information(variances: np.ndarray, s) -> np.ndarray:
    """1/2 sum_i ln(1 + l_i / s^2): the most that data of covariance eigenvalues l can leak; s > 0, an array too."""
    s = checks.positive(s=s)
    return 0.5 * np.log1p(np.asarray(variances, dtype=float) / s[..., None] ** 2).sum(axis=-1)


def information_limit(signals: np.ndarray, mus, confidence: float = stats.LEVEL) -> np.ndarray:
    """(...): upper confidence limit in nats of I(X; Y) at noise 1/mu, whatever the law of the signals.

    I(X; Y) <= E KL(law of Y given X || q) for any q. Here q is the Gaussian of the first half's mean and covariance,
    and the expectation is a mean over the second half: KL in closed form, at most mu^2 (1 + |m|)^2 / 2 plus a constant.

    Args:
        signals: (n, N) lambda x / C, of norm at most 1, independent draws; mus: > 0.
    """
    mus = checks.positive(mus=mus)
    fitted, rest = signals[: len(signals) // 2], signals[len(signals) // 2 :]
    mean = fitted.mean(axis=0)
    _, scales, basis = np.linalg.svd((fitted - mean) / np.sqrt(len(fitted)), full_matrices=False)
    variances, squares = scales**2, ((rest - mean) @ basis.T) ** 2
    beyond = np.maximum(((rest - mean) ** 2).sum(axis=1) - squares.sum(axis=1), 0.0)
    most = (1 + np.linalg.norm(mean)) ** 2
    found = []
    for snr in mus.reshape(-1) ** 2:
        distances = ((squares / (1 + variances * snr)).sum(axis=1) + beyond) / most
        fixed = (np.log1p(variances * snr) - variances * snr / (1 + variances * snr)).sum()
        found.append((fixed + snr * most * stats.mean_limit(distances.mean(), len(rest), confidence)) / 2)
    return np.reshape(found, mus.shape)
