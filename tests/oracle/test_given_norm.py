"""The posterior mean given the norm, where it is known: von Mises-Fisher, and weighting of exact posterior samples."""

from dataclasses import replace

import mpmath
import numpy as np
import pytest
import torch
from closed_forms import sample_posterior

from vpaudit.attack.given_norm import (
    GivenNorm,
    divided,
    given_norm,
    learn,
    references_given_norm,
    stacked,
    told_norm,
)  # fmt: skip
from vpaudit.base.errors import VpauditError
from vpaudit.priors.gaussian import GaussianPrior
from vpaudit.priors.spectral import SpectralPrior
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
    samples = sample_posterior(p, many, torch.full((len(many),), s), torch.randn(many.shape, generator=rng)).flatten(1)
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
    plain = references_given_norm(references, y, s, norm, [float("inf")])[0]
    assert torch.allclose(plain, p.denoise(y, s), atol=0.03)
    told = references_given_norm(references, y, s, norm, [0.02])[0]
    away = (told - given_norm(p, y, s, norm)).flatten(1).norm(dim=1)
    assert float(away.median()) < 0.03


def test_stacking_is_better_than_its_best_part_and_weighs_by_error():
    rng = torch.Generator().manual_seed(8)
    x = torch.randn((200, 1, 4, 4), generator=rng)
    parts = torch.stack([x + spread * torch.randn(x.shape, generator=rng) for spread in (0.3, 0.6, 3.0)])
    weights = stacked(parts, x)
    assert weights.sum() == pytest.approx(1)
    inverse = np.array([0.3, 0.6, 3.0]) ** -2  # of independent errors
    assert weights == pytest.approx(inverse / inverse.sum(), abs=0.03)
    best = min(float((part - x).square().mean()) for part in parts)
    assert float((torch.einsum("k,kbchw->bchw", torch.from_numpy(weights).float(), parts) - x).square().mean()) < best


def test_eigenvectors_of_the_cosine_transform_serve_as_well():
    x = torch.randn((300, 2, 4, 4), generator=torch.Generator().manual_seed(9)) * 0.4 + 0.1
    spectral = SpectralPrior.fit(x, 10)
    colour = spectral.colour(torch.eye(32).view(32, 2, 4, 4)).flatten(1).double()  # the covariance's symmetric root
    values, basis = torch.linalg.eigh(colour @ colour)
    dense = GaussianPrior(spectral.mean, basis.float(), values.float())
    s, norm = torch.full((6,), 0.7), x[:6].flatten(1).norm(dim=1) * 1.1
    assert torch.allclose(given_norm(spectral, x[:6], s, norm), given_norm(dense, x[:6], s, norm), atol=1e-4)


@pytest.fixture
def attack():
    p = prior(3.0 / np.arange(1, 31) ** 2, mean=-0.3)
    x = images(p, 2000, 10)
    public, references = divided(x, 0)
    told = GivenNorm(p, p, 1.0, references)
    weights = learn(told, public, Mechanism(2.0), "d", 0)
    return replace(told, weights=weights)


def test_the_attack_uses_the_norm_and_an_image_depends_on_itself_alone(attack):
    x = images(attack.network, 1000, 11).clamp(-1, 1)
    x[5] *= 0.05  # not clipped
    seen = release_analytic(x, torch.arange(1000), torch.zeros(1000), Mechanism(2.0), "d", 1)
    assert seen.lam[5] == 1
    made, plain = attack.reconstruct(seen), attack.network.denoise(seen.rescaled(), seen.s.float()).clamp(-1, 1)
    alone = replace(attack, references=None, weights=None).reconstruct(seen)
    assert torch.equal(made[5], plain[5])
    kept = seen.lam < 1
    errors = [float((some - x)[kept].square().mean()) for some in (made, alone, plain)]
    assert max(errors[:2]) < 0.97 * errors[2]
    assert errors[0] < 1.01 * errors[1]
    assert torch.allclose(made[3:8], attack.reconstruct(seen[3:8]), atol=1e-6)


def test_learning_draws_keyed_noise_and_needs_clipped_images(attack):
    public, _ = divided(images(attack.network, 2000, 10), 0)
    again = learn(attack, public, Mechanism(2.0), "d", 0)
    assert (again == attack.weights).all()
    assert not (learn(attack, public, Mechanism(2.0), "d", 1) == again).all()
    assert learn(attack, public, Mechanism(2.0, 1e3), "d", 0).tolist() == [0, 1, 0, 0, 0]


def test_an_image_that_was_not_clipped_does_not_tell_its_norm():
    x = torch.tensor([0.9, 0.01]).view(2, 1, 1, 1).expand(2, 1, 2, 2).contiguous()
    ids = torch.arange(2)
    seen = release_analytic(x, ids, ids, Mechanism(1.0, 0.5), "d", 0)
    with pytest.raises(VpauditError, match="lambda=1 for image 1"):
        told_norm(seen, 0.5)
    assert float(told_norm(seen[:1], 0.5)) == pytest.approx(1.8, rel=1e-6)
