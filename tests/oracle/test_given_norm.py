"""The posterior mean given the norm, where it is known: von Mises-Fisher, and weighting of exact posterior samples."""

import mpmath
import numpy as np
import pytest
import torch

from vpaudit.attack.given_norm import Blend, given_norm, references_given_norm, told_norm
from vpaudit.base.errors import VpauditError
from vpaudit.priors.gaussian import GaussianPrior
from vpaudit.privacy.mechanism import Mechanism, release_analytic


def prior(variances, mean=0.0, seed=0):
    size = len(variances)
    rotation = np.linalg.qr(np.random.default_rng(seed).standard_normal((size, size)))[0]
    return GaussianPrior(
        torch.full((1, 1, size), mean), torch.from_numpy(rotation).float(), torch.as_tensor(variances).float()
    )


@pytest.mark.parametrize("pixels", [16, 784])
@pytest.mark.parametrize("s", [0.3, 1.0, 5.0])
def test_equal_variances_and_mean_zero_are_von_mises_and_fisher(pixels, s):
    """On the sphere of radius r the posterior is e^(<x, y> / s^2): its mean has length r I_(N/2) / I_(N/2 - 1)."""
    y = torch.randn((4, 1, 1, pixels), generator=torch.Generator().manual_seed(1))
    radius = torch.tensor([0.5, 1.0, 2.0, 4.0]) * pixels**0.5 * 0.7
    found = given_norm(prior(np.full(pixels, 0.5)), y, torch.full((4,), s), radius)
    length = y.flatten(1).norm(dim=1)
    at = (radius * length / s**2).double().numpy()
    ratios = [float(mpmath.besseli(pixels / 2, a) / mpmath.besseli(pixels / 2 - 1, a)) for a in at]
    want = radius.numpy() * ratios
    direction = y.flatten(1) / length[:, None]
    assert np.allclose((found.flatten(1) * direction).sum(1), want, rtol=2e-4)
    assert torch.allclose(found.flatten(1), direction * torch.as_tensor(want)[:, None].float(), atol=1e-3)


def test_unequal_variances_by_weighting_posterior_samples():
    pixels, s = 8, 0.8
    p = prior(2.0 / np.arange(1, pixels + 1), mean=-0.4)
    rng = torch.Generator().manual_seed(2)
    y = torch.randn((1, 1, 1, pixels), generator=rng)
    many = y.expand(400_000, 1, 1, pixels)
    samples = p.sample_posterior(many, torch.full((len(many),), s), torch.randn(many.shape, generator=rng)).flatten(1)
    norms = samples.norm(dim=1)
    for radius in norms.quantile(torch.tensor([0.02, 0.5, 0.98])).tolist():
        kept = samples[(norms - radius).abs() < 0.02]
        error = kept.std(dim=0) / len(kept) ** 0.5
        found = given_norm(p, y, torch.tensor([s]), torch.tensor([radius])).flatten()
        assert ((found - kept.mean(dim=0)).abs() < 4.5 * error + 2e-3).all()


def images(p, count, seed):
    noise = torch.randn((count, *p.shape), generator=torch.Generator().manual_seed(seed))
    return p.mean + p.colour(noise)


def test_the_norm_lowers_the_error_and_a_wrong_one_raises_it():
    p, s = prior(3.0 / np.arange(1, 31) ** 2, mean=-0.3), torch.full((4000,), 1.5)
    x = images(p, 4000, 3)
    y = x + 1.5 * torch.randn(x.shape, generator=torch.Generator().manual_seed(4))
    norm = x.flatten(1).norm(dim=1)

    def error(estimate):
        return float((estimate - x).square().mean())

    plain, told = error(p.denoise(y, s)), error(given_norm(p, y, s, norm))
    assert told < 0.97 * plain
    assert error(given_norm(p, y, s, norm.roll(1))) > told
    assert error(given_norm(p, y, s, norm, centre=p.denoise(y, s))) == pytest.approx(told, rel=1e-6)


def test_many_references_give_the_posterior_mean_with_and_without_the_norm():
    p, s = prior([0.5, 0.2, 0.1], mean=0.5), torch.full((50,), 1.0)
    x, references = images(p, 50, 5), images(p, 200_000, 6)
    y = x + torch.randn(x.shape, generator=torch.Generator().manual_seed(7))
    norm = x.flatten(1).norm(dim=1)
    plain = references_given_norm(references, y, s, norm, float("inf"))
    assert torch.allclose(plain, p.denoise(y, s), atol=0.03)
    told = references_given_norm(references, y, s, norm, 0.02)
    away = (told - given_norm(p, y, s, norm)).flatten(1).norm(dim=1)
    assert float(away.median()) < 0.03


def test_a_blend_is_at_least_as_good_as_its_best_part():
    rng = torch.Generator().manual_seed(8)
    x = torch.randn((200, 1, 4, 4), generator=rng)
    parts = torch.stack([0.5 * x + spread * torch.randn(x.shape, generator=rng) for spread in (0.3, 0.6)])
    blend = Blend.fit(parts, x, torch.zeros(1, 4, 4))
    assert (blend.weights >= 0).all()
    assert blend.weights[0] > blend.weights[1]
    best = min(float((part - x).square().mean()) for part in parts)
    assert float((blend(parts) - x).square().mean()) < best


def test_an_image_that_was_not_clipped_does_not_tell_its_norm():
    x = torch.tensor([0.9, 0.01]).view(2, 1, 1, 1).expand(2, 1, 2, 2).contiguous()
    ids = torch.arange(2)
    seen = release_analytic(x, ids, ids, Mechanism(1.0, 0.5), "d", 0)
    with pytest.raises(VpauditError, match="lambda=1 for image 1"):
        told_norm(seen, 0.5)
    assert float(told_norm(seen[:1], 0.5)) == pytest.approx(1.8, rel=1e-6)
