"""What the adversary knows of y = lambda x + sigma z besides y, and what it makes of the rest.

`config.Knowledge` says which of sigma and lambda it is told, with what error, and how it estimates what it is not told;
`believe` turns an observation into the one it believes in, on which every attack runs unchanged. Estimators of sigma:

    wavelet   median absolute deviation of the finest wavelet coefficients (scikit-image)
    patches   eigenvalues of the covariance of small patches (Chen, Zhu & Heng 2015): image content has few of them
    blank     coordinates of the gradient that carry no image, exactly N(0, sigma^2)
    prior     maximum likelihood under the prior

and of lambda: `norm` (C is known: C over the prior's typical norm, at most 1), `energy` (C is not known:
|y|^2 - N sigma^2 over the squared typical norm), `prior` (maximum likelihood). Likelihoods need no more than the
denoiser, because with D(x, s) the posterior mean of x = x0 + s z (Tweedie: grad log p_s = (D - x) / s^2, and the heat
equation for the law p_s of x):

    d log p_s(x) / d log s = |x - D|^2 / s^2 - (N - div D)
    d log p(y | lambda, sigma) / d log lambda = <x - D, D> / s^2 - div D      at x = y / lambda, s = sigma / lambda
"""

import numpy as np
import torch

from vpaudit.base.denoiser import Denoiser
from vpaudit.base.errors import VpauditError
from vpaudit.base.pixels import per_image
from vpaudit.base.randomness import KeyedNoise
from vpaudit.priors.gaussian import GaussianPrior
from vpaudit.privacy.mechanism import Observation
from vpaudit.study.config import Knowledge

HALVINGS = 10  # of a bracket in log sigma or log lambda; 9 nats / 2^10 is 0.9 %
LAMBDA_REACH = 3.0  # lambda is sought within this factor of its typical value
PROBE = 0.1  # size of the finite difference for div D, in units of s: bf16 networks are good to 1e-3


def typical_norm(prior: GaussianPrior) -> float:
    """sqrt(E |x|^2) of the prior's images."""
    return float((prior.mean.double().square().sum() + prior.variances.double().sum()).sqrt())


def believe(
    seen: Observation,
    knowledge: Knowledge,
    prior: Denoiser | None,
    norm: float,
    max_grad_norm: float,
    seed: int = 0,
) -> Observation:
    """The observation as the adversary believes it to be: y as it is, sigma and lambda told, mistaken or estimated.

    Args:
        prior: asked only by the estimators `prior`.
        norm: `typical_norm`, what it guesses |x| to be.
        max_grad_norm: C, used only by lam = "norm".

    Raises:
        VpauditError: an estimator lacks what it needs (blank coordinates, a prior).
    """
    if "prior" in (knowledge.sigma, knowledge.lam) and prior is None:
        raise VpauditError("knowledge asks the prior, and there is none", "use an attack with a prior")
    lam = _told_lambda(seen, knowledge, norm, max_grad_norm)
    if knowledge.sigma == "known":
        sigma = seen.sigma * (1 + knowledge.sigma_error)
    elif knowledge.sigma == "blank":
        sigma = sigma_blank(seen)
    elif knowledge.sigma == "prior":
        guess = max_grad_norm / norm if lam is None else lam
        sigma = sigma_by_prior(prior, seen, torch.as_tensor(guess).expand(len(seen)), seed)
    else:
        sigma = {"wavelet": sigma_wavelet, "patches": sigma_patches}[knowledge.sigma](seen.y)
    if knowledge.lam == "energy":
        lam = lambda_by_energy(seen.y, sigma, norm)
    elif knowledge.lam == "prior":
        lam = lambda_by_prior(prior, seen, sigma, max_grad_norm / norm, seed)
    return seen.with_belief(lam, sigma)


def _told_lambda(seen, knowledge, norm, max_grad_norm):
    if knowledge.lam == "known":
        return seen.lam * (1 + knowledge.lam_error)
    if knowledge.lam == "norm":
        return torch.full_like(seen.lam, min(1.0, max_grad_norm / norm))
    return None


def sigma_wavelet(y: torch.Tensor) -> torch.Tensor:
    """float64 (B,): skimage.restoration.estimate_sigma, mean over channels."""
    from skimage.restoration import estimate_sigma

    found = [estimate_sigma(image.numpy(), channel_axis=0, average_sigmas=True) for image in y.double().cpu()]
    return torch.tensor(found, dtype=torch.float64).clamp_min(1e-12)


def sigma_patches(y: torch.Tensor, size: int = 5) -> torch.Tensor:
    """float64 (B,): the largest eigenvalues are dropped until the mean of the rest is their median (Chen et al.)."""
    size = min(size, *y.shape[2:])
    patches = torch.nn.functional.unfold(y.double(), size)  # (B, C size^2, L)
    centred = patches - patches.mean(dim=2, keepdim=True)
    values = torch.linalg.eigvalsh(centred @ centred.mT / centred.shape[2]).clamp_min(0)
    result = []
    for rising in values:
        keep = len(rising)
        while keep > 2 and rising[:keep].mean() > rising[:keep].median() * (1 + 1e-9):
            keep -= 1
        result.append(float(rising[:keep].mean().sqrt()))
    return torch.tensor(result, dtype=torch.float64).clamp_min(1e-12)


def sigma_blank(seen: Observation) -> torch.Tensor:
    """float64 (B,): root mean square of the coordinates that carry no image."""
    if seen.blank is None:
        raise VpauditError(
            "knowledge.sigma=blank needs gradient coordinates without image, and this release has none",
            "use wavelet, patches or prior",
        )
    return seen.blank.double().square().mean(dim=1).sqrt()


def lambda_by_energy(y: torch.Tensor, sigma: torch.Tensor, norm: float) -> torch.Tensor:
    """float64 (B,): sqrt(|y|^2 - N sigma^2) / norm; where noise hides the signal, a standard error of |y|^2 instead."""
    flat = y.flatten(1).double()
    count = flat.shape[1]
    signal = flat.square().sum(dim=1) - count * sigma**2
    return signal.clamp_min(1e-12).maximum(sigma**2 * (2 * count) ** 0.5).sqrt() / norm


def slopes(prior: Denoiser, x: torch.Tensor, s: torch.Tensor, probe: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """d log p_s(x) / d log s, and d log p(y | lambda, sigma) / d log lambda, float64 (B,) each.

    Two calls: div D by a finite difference along `probe`, +1 and -1 of x's shape (Hutchinson); its standard error is
    the root of twice the squared off-diagonal part of D's Jacobian.
    """
    size = per_image(PROBE * s)
    x0 = prior.denoise(x, s.float())
    moved = prior.denoise((x + size * probe).float(), s.float())
    divergence = ((moved - x0).double() * probe / size.double()).flatten(1).sum(dim=1)
    residual, s2 = (x - x0).flatten(1).double(), s.double() ** 2
    by_s = residual.square().sum(dim=1) / s2 - (residual.shape[1] - divergence)
    by_lambda = (residual * x0.flatten(1).double()).sum(dim=1) / s2 - divergence
    return by_s, by_lambda


def _probe(seen: Observation, seed: int) -> torch.Tensor:
    keys = [(seed, seen.dataset, i, f"mu={seen.mu:g}", "probe") for i in seen.ids.tolist()]
    return KeyedNoise(keys, seen.y.shape[1:])().sign()


def _falling_root(function, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """exp of the root of a falling function of log value, one an image, by bisection of [low, high] (both logs)."""
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        above = function(middle.exp()) > 0
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    return ((low + high) / 2).exp()


def sigma_by_prior(prior: Denoiser, seen: Observation, lam: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """float64 (B,): the sigma of greatest likelihood, within the prior's range of noise."""
    probe, x = _probe(seen, seed), (seen.y.double() / per_image(lam)).float()
    rms = x.flatten(1).double().square().mean(dim=1).sqrt()
    high = (1.5 * rms).clamp_max(prior.sigma_max).log()
    low = torch.full_like(high, max(prior.sigma_min, 1e-3)).log().minimum(high - 1)
    return lam * _falling_root(lambda s: slopes(prior, x, s, probe)[0], low, high)


def lambda_by_prior(
    prior: Denoiser, seen: Observation, sigma: torch.Tensor, typical: float, seed: int = 0
) -> torch.Tensor:
    """float64 (B,): the lambda of greatest likelihood, within a factor `LAMBDA_REACH` of `typical`."""
    probe, sigma = _probe(seen, seed), torch.as_tensor(sigma, dtype=torch.float64).expand(len(seen))
    least = (sigma / prior.sigma_max).clamp_min(typical / LAMBDA_REACH)  # a smaller one would leave the prior's range

    def slope(lam):
        return slopes(prior, (seen.y.double() / per_image(lam)).float(), sigma / lam, probe)[1]

    high = torch.full_like(least, np.log(typical * LAMBDA_REACH)).maximum(least.log() + 1e-6)
    return _falling_root(slope, least.log(), high)
