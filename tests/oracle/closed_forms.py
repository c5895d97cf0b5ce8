"""What is known exactly of Gaussian images, to hold networks, samplers and bounds against."""

import math

import numpy as np
import torch

from vpaudit.priors.gaussian import GaussianPrior


def sample_posterior(prior: GaussianPrior, x, sigma, noise):
    """One exact posterior draw for each x = x0 + sigma z, with standard normal `noise` of x's shape."""
    s2 = sigma[:, None] ** 2
    std = (prior.variances * s2 / (prior.variances + s2)).sqrt()
    return prior.denoise(x, sigma) + prior.colour(noise, std)


def log_density(prior: GaussianPrior, x, sigma) -> torch.Tensor:
    """float64 (B,): log density of x = x0 + sigma z, N(m, U diag(l + sigma^2) U'), in nats; sigma (B,) > 0."""
    variances = prior.variances.double() + sigma.double()[:, None] ** 2
    centred = (x - prior.mean).flatten(1).double() @ prior.basis.double()
    return -0.5 * ((centred**2 / variances) + variances.log() + math.log(2 * math.pi)).sum(dim=1)


def gaussian_mse(variances: np.ndarray, s, true_variances: np.ndarray | None = None, shift: np.ndarray | None = None):
    """E |x - D_q|^2 of the Wiener filter for variances l_q on data of variances l_p, same basis, mean off by d_i.

    sum_i [l_p s^4 + l_q^2 s^2 + d_i^2 s^4] / (l_q + s^2)^2; the mmse sum l s^2 / (l + s^2) for q = p.
    """
    s2 = np.asarray(s, dtype=float)[..., None] ** 2
    q = np.asarray(variances, dtype=float)
    p = q if true_variances is None else np.asarray(true_variances, dtype=float)
    d2 = 0.0 if shift is None else np.asarray(shift, dtype=float) ** 2
    return ((p * s2**2 + q**2 * s2 + d2 * s2**2) / (q + s2) ** 2).sum(axis=-1)
