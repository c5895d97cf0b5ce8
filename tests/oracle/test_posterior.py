"""Draws against posteriors that are known exactly: a mixture of Gaussians with several modes, s from 0.05 to 50."""

import numpy as np
import pytest
import torch
from mixture import MixturePrior

from vpaudit.base.randomness import KeyedNoise, generator
from vpaudit.priors.gaussian import GaussianPrior
from vpaudit.sampling import samplers

SHAPE = (1, 2, 2)
SIGMAS = (0.05, 0.3, 1.0, 5.0, 50.0)


@pytest.fixture(scope="module")
def mixture() -> MixturePrior:
    """Three modes at distances of one to three within-mode standard deviations, unequal weights and covariances."""
    rng = torch.Generator().manual_seed(1)
    components = []
    for k in range(3):
        root = torch.randn(4, 4, generator=rng) * torch.tensor([0.3, 0.2, 0.15, 0.1])
        variances, basis = torch.linalg.eigh(root @ root.T)
        components.append(GaussianPrior(torch.randn(SHAPE, generator=rng) * 0.5 + 0.2 * k, basis, variances))
    return MixturePrior(components, torch.tensor([0.5, 0.3, 0.2]))


def gaussian_pdf(x, mean, cov):
    """Textbook density, with inverse and determinant and no eigenvectors."""
    d = x - mean
    return np.exp(-0.5 * np.einsum("bi,ij,bj->b", d, np.linalg.inv(cov), d)) / np.sqrt(np.linalg.det(2 * np.pi * cov))


def moments(component):
    basis = component.basis.double().numpy()
    cov = basis @ np.diag(component.variances.double().numpy()) @ basis.T
    return component.mean.flatten().double().numpy(), cov


@pytest.mark.parametrize("sigma", SIGMAS)
def test_mixture_posterior_by_the_textbook(mixture, sigma):
    x = mixture.sample(6, generator("x"))[0] + sigma * torch.randn((6, *SHAPE), generator=generator("z"))
    flat, eye = x.flatten(1).double().numpy(), sigma**2 * np.eye(4)
    densities, means = [], []
    for weight, component in zip(mixture.weights.numpy(), mixture.components):
        m, c = moments(component)
        densities.append(weight * gaussian_pdf(flat, m, c + eye))
        means.append(m + (flat - m) @ np.linalg.inv(c + eye) @ c)
    densities, means = np.stack(densities), np.stack(means)
    shares = densities / densities.sum(0)
    at = torch.full((6,), sigma)
    assert np.allclose(mixture.responsibilities(x, at).T.numpy(), shares, atol=1e-4)
    assert np.allclose(mixture.log_density(x, at).numpy(), np.log(densities.sum(0)), atol=1e-3)
    want = (shares[..., None] * means).sum(0)
    assert np.allclose(mixture.denoise(x, at).flatten(1).numpy(), want, atol=1e-4)


def test_mixture_fit_is_one_gaussian_a_class(mixture):
    images, labels = mixture.sample(60_000, generator("fit"))
    fitted = MixturePrior.fit(images, labels)
    assert torch.allclose(fitted.weights, mixture.weights, atol=0.01)
    for mine, true in zip(fitted.components, mixture.components):
        assert torch.allclose(mine.mean, true.mean, atol=0.02)
        assert np.allclose(moments(mine)[1], moments(true)[1], atol=0.01)


CHAINS = {
    "ancestral": lambda p, x, levels, noise: samplers.ddim_steps(p.denoise, x, levels, 1.0, noise),
    "multistep": lambda p, x, levels, noise: samplers.multistep_steps(p.denoise, x, levels, 1.0, noise, order=2),
    "half_eta": lambda p, x, levels, noise: samplers.ddim_steps(p.denoise, x, levels, 0.5, noise),
    "churn": lambda p, x, levels, noise: samplers.heun_steps(p.denoise, x, levels, 0.05, noise),
}


def draws_of(mixture, chain, sigma, count, steps, joint=False):
    """`count` chains. joint: each from its own target and noise; else all from the observation x of one target.

    Returns draws, x, and the targets.
    """
    target = mixture.sample(count, generator("target", sigma))[0]
    x = target + sigma * torch.randn((count, *SHAPE), generator=generator("noise", sigma))
    if not joint:
        target, x = target[:1].expand_as(x), x[:1].expand_as(x)
    levels = samplers.noise_levels(torch.full((count,), sigma), steps, last=min(0.01, sigma / 20))
    noise = KeyedNoise([("draw", sigma, i) for i in range(count)], SHAPE)
    return samplers.last(chain(mixture, x, levels, noise)), x, target


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("name", ["ancestral", "multistep"])
def test_stochastic_draws_have_mean_covariance_and_mode_weights(mixture, name, sigma):
    """3,000 draws against 3,000 exact ones: a mean is good to std / 39, a variance to 3.7 %, a weight to .013."""
    count, steps = 3000, {"ancestral": 200, "multistep": 60}[name]
    draws, x, _ = draws_of(mixture, CHAINS[name], sigma, count, steps)
    at = torch.full((count,), sigma)
    exact, which = mixture.sample_posterior(x, at, torch.randn(x.shape, generator=generator("e")), generator("w"))
    scale = exact.flatten(1).std(0)
    assert ((draws - exact).flatten(1).mean(0).abs() < 0.1 * scale + 1e-3).all()
    cov, want = (np.cov(d.flatten(1).double().numpy().T) for d in (draws, exact))
    assert np.abs(cov - want).max() < 0.13 * np.abs(want).max()
    shares = torch.bincount(which, minlength=3) / count
    low = torch.full((count,), 0.01)
    assert torch.allclose(mixture.responsibilities(draws, low).mean(0).float(), shares, atol=0.05)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_credible_intervals_cover_as_often_as_they_say(mixture, sigma):
    """Targets and noise drawn anew, 19 draws each: the target's rank among 20 is uniform, so ranks 2 to 19 cover 90 %.

    500 observations x 4 pixels: one standard error is at most 1.3 %, less than that for independent pixels.
    """
    count, draws = 500, 19
    target = mixture.sample(count, generator("cover", sigma))[0]
    x = target + sigma * torch.randn(target.shape, generator=generator("cover noise", sigma))
    levels = samplers.noise_levels(torch.full((count,), sigma), 60, last=min(0.01, sigma / 20)).repeat(draws, 1)
    noise = KeyedNoise([("cover", sigma, i) for i in range(count * draws)], SHAPE)
    chain = samplers.multistep_steps(mixture.denoise, x.repeat(draws, 1, 1, 1), levels, 1.0, noise)
    below = (samplers.last(chain).view(draws, *target.shape) < target).sum(0)
    covered = ((below >= 1) & (below <= draws - 1)).float().mean()
    assert float(covered) == pytest.approx(0.9, abs=0.02)


@pytest.mark.parametrize("name", ["half_eta", "churn"])
def test_every_kind_of_noise_keeps_the_prior(mixture, name):
    """Over targets drawn from the prior, draws must be distributed as the prior again, whatever the sampler's noise."""
    draws, _, target = draws_of(mixture, CHAINS[name], 2.0, 4000, 60, joint=True)
    assert torch.allclose(draws.flatten(1).mean(0), target.flatten(1).mean(0), atol=0.05)
    cov, want = (np.cov(d.flatten(1).numpy().T) for d in (draws, target))
    assert np.abs(cov - want).max() < 0.08 * np.abs(want).max()


def test_few_second_order_steps_match_many_first_order_ones(mixture):
    """E |draw - target|^2 of a true posterior is twice the mmse: 20 multistep calls as good as 200 ancestral ones."""

    def ratio(name, steps):
        draws, _, target = draws_of(mixture, CHAINS[name], 5.0, 4000, steps, joint=True)
        return float((draws - target).square().mean() / 2 / mmse)

    x, at = _observed(mixture)
    mmse = float((mixture.denoise(x, at) - _target(mixture)).square().mean())
    assert ratio("ancestral", 200) == pytest.approx(1, abs=0.04)
    assert ratio("multistep", 20) == pytest.approx(1, abs=0.04)
    assert ratio("ancestral", 20) < 0.95


def _target(mixture):
    return mixture.sample(4000, generator("target", 5.0))[0]


def _observed(mixture):
    x = _target(mixture) + 5.0 * torch.randn((4000, *SHAPE), generator=generator("noise", 5.0))
    return x, torch.full((4000,), 5.0)


@pytest.mark.parametrize(("order", "rate"), [(1, 1.6), (2, 3.2), (3, 3.9)])
def test_deterministic_multistep_converges_with_its_order(mixture, order, rate):
    """Halving steps uniform in log sigma divides the error by 2^order (4 for order 3: its first step is of order 1)."""
    x, at = (v[:50] for v in _observed(mixture))

    def end(calls, order):
        levels = samplers.noise_levels(at, calls, "log", last=0.05)[:, :-1]  # the jump to 0 is another matter
        return samplers.last(samplers.multistep_steps(mixture.denoise, x, levels, order=order))

    truth = end(2000, 3)
    coarse, fine = (float((end(n, order) - truth).square().mean().sqrt()) for n in (41, 81))
    assert coarse / fine > rate


def test_ddrm_stays_with_the_measurement_where_noise_is_low(mixture):
    """With eta = 0 and no noise left to add, x' - D stays parallel to y - D: the anchor; and eta = 1 forgets it."""
    x, at = (v[:50] for v in _observed(mixture))
    levels = samplers.noise_levels(at, 8)
    noise = KeyedNoise([("ddrm", i) for i in range(50)], SHAPE)
    anchored = list(samplers.ddrm_steps(mixture.denoise, x, levels, 0.0))
    first = mixture.denoise(x, at)
    share = (levels[:, 1] / at)[:, None, None, None]
    assert torch.allclose(anchored[0], first + share * (x - first), atol=1e-4)
    fresh = next(samplers.ddrm_steps(mixture.denoise, x, levels, 1.0, noise))
    again = KeyedNoise([("ddrm", i) for i in range(50)], SHAPE)()
    assert torch.allclose(fresh, first + levels[:, 1][:, None, None, None] * again, atol=1e-4)
