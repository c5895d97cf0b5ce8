"""With a Gaussian prior everything is known exactly: posterior mean, covariance, and the end of the DDIM flow."""

import itertools

import numpy as np
import pytest
import torch

from vpaudit.attack import reconstruct
from vpaudit.base.randomness import KeyedNoise
from vpaudit.priors.gaussian import GaussianPrior
from vpaudit.priors.spectral import SpectralPrior
from vpaudit.privacy.mechanism import Mechanism, Observation, release_analytic
from vpaudit.sampling import samplers
from vpaudit.study.config import Attack

SHAPE = (1, 2, 3)
SIGMAS = (0.05, 0.3, 1.0, 5.0, 20.0)


@pytest.fixture(scope="module")
def prior() -> GaussianPrior:
    rng = torch.Generator().manual_seed(1)
    root = torch.randn(6, 6, generator=rng) * torch.tensor([1.0, 0.7, 0.5, 0.3, 0.2, 0.05])
    variances, basis = torch.linalg.eigh(root @ root.T * 0.3)
    return GaussianPrior(torch.randn(SHAPE, generator=rng) * 0.3, basis, variances)


def covariance(prior: GaussianPrior) -> np.ndarray:
    basis = prior.basis.double().numpy()
    return basis @ np.diag(prior.variances.double().numpy()) @ basis.T


def exact_posterior(prior: GaussianPrior, x: np.ndarray, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance by the textbook formula, with matrix inverses and no eigenvectors."""
    c, m = covariance(prior), prior.mean.flatten().double().numpy()
    gain = c @ np.linalg.inv(c + sigma**2 * np.eye(len(m)))
    return m + gain @ (x - m), c - gain @ c


@pytest.mark.parametrize("sigma", SIGMAS)
def test_denoise_is_the_posterior_mean(prior, sigma):
    x = torch.randn((4, *SHAPE), generator=torch.Generator().manual_seed(2)) * (1 + sigma)
    got = prior.denoise(x, torch.full((4,), sigma))
    for i in range(4):
        mean, _ = exact_posterior(prior, x[i].flatten().double().numpy(), sigma)
        assert np.allclose(got[i].flatten().numpy(), mean, atol=2e-5)


@pytest.mark.parametrize("sigma", [0.3, 1.0, 5.0])
def test_posterior_mse_is_the_trace(prior, sigma):
    _, cov = exact_posterior(prior, np.zeros(6), sigma)
    assert prior.posterior_mse(sigma) == pytest.approx(np.trace(cov) / 6, rel=1e-4)


def test_fit_recovers_mean_and_covariance(prior):
    rng = torch.Generator().manual_seed(3)
    z = torch.randn((200_000, 6), generator=rng)
    images = prior.mean + ((z * prior.variances.sqrt()) @ prior.basis.T).view(-1, *SHAPE)
    fitted = GaussianPrior.fit(images)
    assert torch.allclose(fitted.mean, prior.mean, atol=0.01)
    assert np.allclose(covariance(fitted), covariance(prior), atol=0.02)


def many_draws(prior, x, sigma, count, steps, eta):
    """`count` independent chains from the same observation x (C, H, W)."""
    start = torch.full((count,), sigma)
    levels = samplers.noise_levels(start, steps, "karras", last=min(0.02, sigma / 20))
    noise = KeyedNoise([(7, i) for i in range(count)], SHAPE)
    return samplers.last(samplers.ddim_steps(prior.denoise, x.expand(count, *SHAPE), levels, eta, noise))


@pytest.mark.parametrize("sigma", [0.3, 1.0, 5.0])
def test_ancestral_draws_have_posterior_mean_and_covariance(prior, sigma):
    """4,000 draws at 150 steps: Monte-Carlo error of a mean is std / 63, of a variance 2.2 %; 3 % discretisation."""
    x = prior.mean + torch.randn(SHAPE, generator=torch.Generator().manual_seed(4)) * sigma
    draws = many_draws(prior, x, sigma, 4000, 150, 1.0).flatten(1).double().numpy()
    mean, cov = exact_posterior(prior, x.flatten().double().numpy(), sigma)
    scale = np.sqrt(np.diag(cov))
    assert np.abs(draws.mean(0) - mean).max() < 0.08 * scale.max()
    assert np.abs(np.cov(draws.T) - cov).max() < 0.12 * scale.max() ** 2
    assert np.trace(np.cov(draws.T)) == pytest.approx(np.trace(cov), rel=0.06)


def test_few_ancestral_steps_make_draws_too_alike(prior):
    """Why the study does not use a handful of steps: the spread shrinks well below the posterior's."""
    x = prior.mean.clone()
    _, cov = exact_posterior(prior, x.flatten().double().numpy(), 5.0)
    few = np.trace(np.cov(many_draws(prior, x, 5.0, 2000, 4, 1.0).flatten(1).numpy().T))
    assert few < 0.8 * np.trace(cov)


@pytest.mark.parametrize("sigma", [0.3, 1.0, 5.0])
def test_ddim_reaches_the_end_of_the_flow(prior, sigma):
    """In each eigendirection the probability flow scales x - m by sqrt(l / (l + sigma^2))."""
    x = prior.mean + torch.randn(SHAPE, generator=torch.Generator().manual_seed(5)) * sigma
    got = many_draws(prior, x, sigma, 1, 400, 0.0)[0]
    scale = (prior.variances / (prior.variances + sigma**2)).sqrt()
    want = prior.mean.flatten() + prior.basis @ (scale * (prior.basis.T @ (x - prior.mean).flatten()))
    assert torch.allclose(got.flatten(), want, atol=0.02)


def test_the_whole_chain_hits_the_posterior_mean(prior):
    """Release, rescale, denoise: against the formula fed with y directly, so a lost factor in s would show."""
    rng = torch.Generator().manual_seed(6)
    z = torch.randn((3000, 6), generator=rng)
    images = (prior.mean + ((z * prior.variances.sqrt()) @ prior.basis.T).view(-1, *SHAPE)).float()
    ids = torch.arange(len(images))
    seen = release_analytic(images, ids, torch.zeros_like(ids), Mechanism(mu=2.0, max_grad_norm=100.0), "toy", 0)
    assert (seen.lam == 1).all()
    assert (seen.sigma == 50.0).all()
    seen = release_analytic(images, ids, torch.zeros_like(ids), Mechanism(mu=2.0, max_grad_norm=2.0), "toy", 0)
    keep = seen.lam == 1  # unclipped images share one noise level, s = sigma = 1
    assert keep.sum() > 1000
    estimate = prior.denoise(seen.rescaled(), seen.s.float())
    error = (estimate - images).flatten(1).square().mean(1)
    raw = (seen.rescaled() - images).flatten(1).square().mean(1)
    assert raw[keep].mean() == pytest.approx(1.0, rel=0.05)
    assert error[keep].mean() < 0.5 * raw[keep].mean()


def test_attack_uses_s_of_each_image(prior):
    """Two images of different norm, same mu, clipped: each must be denoised at its own |x| / mu."""
    y = 0.2 * torch.randn((2, *SHAPE), generator=torch.Generator().manual_seed(8))
    lam = torch.tensor([0.5, 0.1], dtype=torch.float64)
    seen = Observation(y, lam, 0.1, torch.tensor([0, 1]), torch.tensor([0, 0]), "toy", 10.0)
    got = reconstruct.reconstruct(seen, prior, Attack(name="wiener", kind="wiener"), seed=0)
    for i, s in enumerate((0.2, 1.0)):
        mean, _ = exact_posterior(prior, (y[i].double() / lam[i]).flatten().numpy(), s)
        assert np.allclose(got[i].flatten().numpy(), np.clip(mean, -1, 1), atol=1e-4)


@pytest.mark.parametrize(("now", "then"), [(20.0, 5.0), (5.0, 0.3), (1.0, 0.0)])
def test_transport_is_where_the_flow_goes(prior, now, then):
    """In closed form what 4,000 small steps of DDIM between the two noises do, for a full and a spectral Gaussian."""
    variances = prior.variances.double().reshape(SHAPE)
    spectral = SpectralPrior(prior.mean, torch.eye(1, dtype=torch.float64), variances)
    levels = torch.linspace(now, max(then, 1e-4), 4001, dtype=torch.float64)
    for exact in (prior, spectral):
        x = torch.randn((4, *SHAPE), generator=torch.Generator().manual_seed(5)) * (1 + now)
        state = x.double()
        for high, low in itertools.pairwise(levels):
            mean = exact.denoise(state.float(), high.float().expand(4)).double()
            state = mean + low / high * (state - mean)
        moved = exact.transport(x, torch.full((4,), now), torch.full((4,), then))
        assert torch.allclose(moved, state.float(), atol=5e-3 * (1 + then))
