"""Several releases: exact laws of the combined observation, and participation told apart, with a Gaussian prior."""

import dataclasses

import pytest
import torch

from vpaudit.attack import rounds
from vpaudit.base.errors import VpauditError
from vpaudit.base.pixels import per_image
from vpaudit.base.randomness import generator
from vpaudit.priors.gaussian import GaussianPrior
from vpaudit.privacy.mechanism import Mechanism, release_analytic

SHAPE = (1, 8, 8)


@pytest.fixture(scope="module")
def prior() -> GaussianPrior:
    basis, _ = torch.linalg.qr(torch.randn(64, 64, generator=generator("basis"), dtype=torch.float64))
    variances = 3.0 / torch.arange(1, 65, dtype=torch.float64) ** 2
    return GaussianPrior(torch.full(SHAPE, 0.3), basis.float(), variances.float())


@pytest.fixture(scope="module")
def images(prior):
    return prior.mean + prior.colour(torch.randn((200, *SHAPE), generator=generator("images")))


def release(images, mu, round_=0):
    ids = torch.arange(len(images))
    return release_analytic(images, ids, torch.zeros_like(ids), Mechanism(mu), "toy", 0, round_=round_)


@pytest.mark.parametrize("mus", [[2.0] * 9, [1.0, 2.0, 4.0]])
def test_rounds_are_one_release_of_mu_total(images, mus):
    """mu_total = sqrt(sum mu^2): 6 for nine rounds of 2. Residuals have the combined variance, per pixel."""
    merged = rounds.combine([release(images, mu, t) for t, mu in enumerate(mus)])
    total = sum(mu**2 for mu in mus) ** 0.5
    assert torch.allclose(merged.sigma, torch.full_like(merged.sigma, 1 / total))
    residual = merged.y.double() - per_image(merged.lam) * images
    assert float((residual / per_image(merged.sigma)).std()) == pytest.approx(1, abs=0.02)
    assert float((merged.rescaled() - images).square().mean() / (merged.s**2).mean()) == pytest.approx(1, rel=0.05)


def test_releases_of_other_images_are_refused(images):
    with pytest.raises(VpauditError, match="other images"):
        rounds.combine([release(images[:3], 2.0), release(images[1:4], 2.0)])
    with pytest.raises(VpauditError, match="no release"):
        rounds.combine([])


def sampled(images, mu, count, rate, others=None):
    ids = torch.arange(len(images))
    return rounds.release_sampled(images, ids, torch.zeros_like(ids), Mechanism(mu), count, rate, "toy", 0, others)


def test_poisson_rounds_follow_their_law(images):
    y, present = sampled(images, 5.0, 40, 0.3)
    assert float(present.double().mean()) == pytest.approx(0.3, abs=0.02)
    lam = Mechanism(5.0).clip_factor(images)
    noise = y.double() - present.double()[..., None, None, None] * per_image(lam) * images
    assert float(noise.std() * 5) == pytest.approx(1, abs=0.01)
    again, _ = sampled(images[50:60], 5.0, 40, 0.3)
    assert not torch.equal(again, y[:, 50:60])  # ids name the image, not the row
    ids = torch.arange(50, 60)
    same, _ = rounds.release_sampled(images[50:60], ids, ids, Mechanism(5.0), 40, 0.3, "toy", 0)
    assert torch.equal(same, y[:, 50:60])


def wiener(prior):
    return lambda seen: prior.denoise(seen.rescaled(), seen.s.float())


def errors(prior, images, mu, count, rate):
    """MSE with the blind mean, with rounds told apart, and with participation known."""
    y, present = sampled(images, mu, count, rate)
    seen, estimate = release(images, mu), wiener(prior)

    def mse(observation):
        return float((estimate(observation) - images).square().mean())

    mean, lam, sigma = rounds.blind_mean(y, seen.lam, 1 / mu, rate)
    blind = dataclasses.replace(seen, y=mean, lam=lam, sigma=sigma)
    apart, probability = rounds.told_apart(y, seen, rate, estimate)
    took = present.double().sum(0).clamp_min(1)
    sums = (present[..., None, None, None] * y).sum(0)
    known = dataclasses.replace(seen, y=(sums / per_image(took)).float(), sigma=1 / mu / took.sqrt())
    correct = ((probability > 0.5) == present).double().mean()
    return mse(blind), mse(apart), mse(known), float(correct)


def test_clear_rounds_are_told_apart(prior, images):
    """At mu = 8 a round's log odds are N(-32, 64) or N(32, 64): nearly certain, so nothing is lost to sampling."""
    blind, apart, known, correct = errors(prior, images, 8.0, 20, 0.3)
    assert correct > 0.99
    assert apart == pytest.approx(known, rel=0.1)
    assert blind > 1.5 * known


def test_unclear_rounds_do_no_harm(prior, images):
    blind, apart, known, _ = errors(prior, images, 1.0, 40, 0.3)
    assert apart < 1.03 * blind
    assert known < apart


def test_other_images_of_the_batch_are_a_background(images):
    """Their mean is what a round holds without the target, in expectation."""
    others = images[100:]
    y, present = sampled(images[:100], 20.0, 60, 0.2, others)
    lam = Mechanism(20.0).clip_factor(others)
    background = 0.2 * (per_image(lam) * others.double()).sum(0)
    absent = (y.double() * (~present)[..., None, None, None]).sum(dim=(0, 1)) / (~present).sum()
    assert torch.allclose(absent, background, atol=0.05 * float(background.abs().max()) + 0.02)
