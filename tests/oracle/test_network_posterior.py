"""Samples given a network's gradient: exact where the network is linear and the prior normal."""

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from torch import nn

from vpaudit.attack.gradients import Released
from vpaudit.base.errors import VpauditError
from vpaudit.opacus.clipped import ClippedGradient
from vpaudit.opacus.mixed import batch_sample
from vpaudit.opacus.posterior import Adversary, Effort, posterior_samples
from vpaudit.priors.gaussian import GaussianPrior

SHAPE, SIGMA = (1, 2, 2), 0.7
EFFORT = Effort(levels=12, start=60.0, newton=1, products=5)


@pytest.fixture(scope="module")
def prior():
    rng = torch.Generator().manual_seed(0)
    images = torch.randn(500, 4, generator=rng) @ torch.tensor(
        [[1.0, 0.8, 0, 0], [0, 1, 0, 0], [0, 0, 0.5, 0.2], [0, 0, 0, 0.3]]
    )
    return GaussianPrior.fit((images + 0.5).view(-1, *SHAPE))


@pytest.fixture(scope="module")
def gradient():
    """Two linear layers whose loss is the sum of the outputs: a gradient that is linear in the image."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3, bias=False), nn.Linear(3, 2, bias=False)).double()
    return ClippedGradient(model, 0, 1e3, lambda logits, labels: logits.sum())


def test_mean_covariance_and_coverage_are_those_of_the_exact_posterior(prior, gradient):
    """Other images, other noise, one sample of each, brought to the standard normal by the exact posterior."""
    rng = torch.Generator().manual_seed(2)
    factor = prior.basis.double() * prior.variances.double().sqrt()
    precision = torch.linalg.inv(factor @ factor.T)
    jacobian = (
        gradient.at(torch.zeros(SHAPE, dtype=torch.float64)).push(torch.eye(4, dtype=torch.float64).view(4, *SHAPE)).T
    )
    covariance = torch.linalg.inv(precision + jacobian.T @ jacobian / SIGMA**2)
    mean = prior.mean.flatten().double()
    found = []
    for number in range(120):
        x = mean + factor @ torch.randn(4, generator=rng, dtype=torch.float64)
        seen = jacobian @ x + SIGMA * torch.randn(len(jacobian), generator=rng, dtype=torch.float64)
        expected = covariance @ (precision @ mean + jacobian.T @ seen / SIGMA**2)
        sample = posterior_samples(gradient, seen, SIGMA, Adversary(prior, prior), (number,), 1, EFFORT)
        found.append(torch.linalg.solve(torch.linalg.cholesky(covariance), sample.flatten() - expected))
    found = torch.stack(found).numpy()
    assert np.abs(found.mean(axis=0)).max() < 4 / 120**0.5
    assert np.abs(np.cov(found.T) - np.eye(4)).max() < 0.4
    assert kstest(found.ravel(), "norm").pvalue > 1e-3
    inside = ((found**2).sum(axis=1) < 7.779).mean()  # 90 % of chi squared with four degrees of freedom
    assert 0.8 < inside < 0.97


def test_a_draw_depends_on_its_name_alone(prior, gradient):
    seen = torch.randn(len(gradient.raw(torch.zeros(SHAPE, dtype=torch.float64))), dtype=torch.float64)
    first, again = (
        posterior_samples(gradient, seen, SIGMA, Adversary(prior, prior), ("a",), n, EFFORT) for n in (1, 3)
    )
    assert torch.equal(first[0], again[0])
    assert not torch.allclose(again[0], again[1])


def test_without_noise_the_image_comes_back_through_a_network_that_is_not_linear(prior):
    torch.manual_seed(3)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    gradient = ClippedGradient(model, 1, 0.1)
    x = torch.tensor([0.3, -0.4, 0.2, 0.1], dtype=torch.float64).view(SHAPE)
    found = posterior_samples(gradient, gradient(x), 0.0, Adversary(prior, prior), ("clean",), 1, Effort(newton=4))
    assert torch.allclose(found[0], x, atol=0.02)


def test_priors_of_two_shapes_are_refused(prior):
    other = GaussianPrior.fit(torch.randn(20, 1, 3, 3))
    with pytest.raises(VpauditError, match="a Gaussian prior of"):
        Adversary(prior, other)


def test_images_that_share_rows_have_the_exact_joint_posterior(prior):
    """Two rows, three images: least squares separates the third alone; the covariance of images is exact too."""
    mixing = torch.tensor([[1.0, 0.7, 0.0], [0.0, 0.0, 1.3]], dtype=torch.float64)
    factor = prior.basis.double() * prior.variances.double().sqrt()
    stacked = torch.kron(torch.eye(3, dtype=torch.float64), factor @ factor.T)
    rows = torch.kron(mixing, torch.eye(4, dtype=torch.float64))
    covariance = torch.linalg.inv(torch.linalg.inv(stacked) + rows.T @ rows / SIGMA**2)
    mean, rng = prior.mean.flatten().double().repeat(3), torch.Generator().manual_seed(8)
    found = []
    for number in range(150):
        x = mean + torch.linalg.cholesky(stacked) @ torch.randn(12, generator=rng, dtype=torch.float64)
        seen = rows @ x + SIGMA * torch.randn(8, generator=rng, dtype=torch.float64)
        expected = covariance @ (torch.linalg.solve(stacked, mean) + rows.T @ seen / SIGMA**2)
        released = Released(seen.view(2, 4), SIGMA, mixing, torch.empty(0))
        sample = batch_sample(released, [0, 0, 0], Adversary(prior, prior), (number,), EFFORT)
        found.append(torch.linalg.solve(torch.linalg.cholesky(covariance), sample.flatten() - expected))
    found = torch.stack(found).numpy()
    assert np.abs(found.mean(axis=0)).max() < 4 / 150**0.5
    assert np.abs(np.cov(found.T) - np.eye(12)).max() < 0.45
    assert kstest(found.ravel(), "norm").pvalue > 1e-3
