"""Fitted few-step solvers where the flow is known or cheap: a Gaussian and a mixture of Gaussians."""

import numpy as np
import pytest
import torch
from mixture import MixturePrior

from vpaudit.base.randomness import generator
from vpaudit.priors.gaussian import GaussianPrior
from vpaudit.sampling import few_step, samplers

SHAPE = (1, 3, 3)
GRID = np.geomspace(0.2, 40, 6)


def gaussian(key: int) -> GaussianPrior:
    rng = generator("few-step test", key)
    root = torch.randn(9, 9, generator=rng) * torch.linspace(0.5, 0.05, 9)
    variances, basis = torch.linalg.eigh(root @ root.T)
    return GaussianPrior(torch.randn(SHAPE, generator=rng) * 0.6, basis, variances)


@pytest.fixture(scope="module")
def mixture():
    return MixturePrior([gaussian(1), gaussian(2), gaussian(3)], torch.tensor([0.5, 0.3, 0.2]))


def noise(count: int, key: str):
    return lambda sigma: torch.randn((count, *SHAPE), generator=generator(key, sigma))


def fitted(prior, closed, images, calls, evaluations=6):
    plans, errors = few_step.fit(
        prior.denoise, closed, images, GRID, calls, noise(len(images), "fit"), evaluations, report=lambda text: None
    )
    return {plan.calls: plan for plan in plans}, errors


def end(prior, closed, plan: few_step.Plan, x, s):
    levels, coefficients = plan.at(s)
    start = closed.transport(x, s, levels[:, 0])
    return samplers.last(samplers.linear_steps(prior.denoise, start, levels, coefficients, closed))


def distance_to_converged(prior, closed, plan, count=200):
    """On images and noise that were not fitted to, at starting noises between those that were."""
    x0 = prior.sample(count, generator("held out"))[0]
    s = torch.from_numpy(np.geomspace(0.3, 39, count)).float()
    x = x0 + s[:, None, None, None] * noise(count, "held out")(1.0)
    levels = samplers.noise_levels(s, 200)
    converged = samplers.last(samplers.multistep_steps(prior.denoise, x, levels, order=3))
    few = samplers.last(samplers.multistep_steps(prior.denoise, x, samplers.noise_levels(s, plan.calls), order=2))
    return few_step.distance(end(prior, closed, plan, x, s), converged), few_step.distance(few, converged)


def test_a_gaussian_needs_no_more_than_one_call():
    """Its flow is among the terms in closed form: the fit finds it, exactly, whatever the one call says."""
    prior = gaussian(1)
    images = prior.mean + prior.colour(torch.randn((100, *SHAPE), generator=generator("images")))
    plans, errors = fitted(prior, prior, images, [1], evaluations=0)
    assert max(errors[1]) < 0.01
    s = torch.tensor([0.2, 1.0, 7.0, 40.0])
    x = images[:4] + s[:, None, None, None] * torch.randn((4, *SHAPE), generator=generator("z"))
    assert torch.allclose(end(prior, prior, plans[1], x, s), prior.transport(x, s, 0 * s), atol=0.05)


def test_on_a_mixture_it_beats_a_general_solver_of_as_many_calls(mixture):
    images, _ = mixture.sample(200, generator("images"))
    closed = GaussianPrior.fit(images)
    plans, errors = fitted(mixture, closed, images, [3, 5])
    for calls, factor in ((3, 0.7), (5, 0.7)):
        mine, general = distance_to_converged(mixture, closed, plans[calls])
        assert mine < factor * general
    assert np.mean(errors[5]) < np.mean(errors[3])


def test_a_plan_keeps_its_numbers_on_disk_and_between_starts(mixture, tmp_path):
    images, _ = mixture.sample(50, generator("images"))
    closed = GaussianPrior.fit(images)
    plans, _ = fitted(mixture, closed, images, [2], evaluations=0)
    few_step.save(list(plans.values()), tmp_path, {})
    levels, coefficients = few_step.load(tmp_path)[2].at(torch.from_numpy(GRID))
    assert np.allclose(levels.numpy(), plans[2].levels, rtol=1e-5)
    assert np.allclose(coefficients.numpy(), plans[2].coefficients, atol=1e-6)
    assert (levels[:, 0] <= torch.from_numpy(GRID).float() * (1 + 1e-6)).all()
    assert (levels.diff(dim=1) < 0).all()
