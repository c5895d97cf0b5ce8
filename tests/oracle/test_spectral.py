"""The cosine-diagonal prior against the full Gaussian, and the same pattern at two sizes."""

import numpy as np
import pytest
import torch

from vpaudit.base.randomness import generator
from vpaudit.experiments.scale.run import resized
from vpaudit.priors.gaussian import GaussianPrior
from vpaudit.priors.spectral import SpectralPrior, frequency


@pytest.fixture(scope="module")
def images():
    """Stationary by construction: independent cosine coefficients, colours mixed by a rotation."""
    prior = SpectralPrior(
        torch.full((2, 8, 8), 0.1),
        torch.tensor([[0.6, 0.8], [-0.8, 0.6]], dtype=torch.float64),
        torch.from_numpy(1 / (1 + frequency(8, 8)) ** 2)[None] * torch.tensor([1.0, 0.3])[:, None, None],
    )
    z = torch.randn((20_000, 2, 8, 8), generator=generator("spectral"), dtype=torch.float64)
    return prior, (prior.mean + prior.inverse(prior.variances.sqrt() * z)).float()


def test_transform_is_orthonormal_and_inverts(images):
    prior, x = images
    coefficients = prior.transform(x[:20])
    assert torch.allclose(prior.inverse(coefficients).float(), x[:20], atol=1e-5)
    assert torch.allclose(coefficients.square().sum((1, 2, 3)), x[:20].double().square().sum((1, 2, 3)), rtol=1e-6)


@pytest.mark.parametrize("sigma", [0.1, 1.0, 5.0])
def test_on_stationary_images_it_is_the_full_gaussian(images, sigma):
    true, x = images
    mine, full = SpectralPrior.fit(x), GaussianPrior.fit(x)
    y = x[:50] + sigma * torch.randn(x[:50].shape, generator=generator("noise", sigma))
    at = torch.full((50,), sigma)
    assert torch.allclose(mine.denoise(y, at), true.denoise(y, at), atol=0.03)
    assert float((mine.denoise(y, at) - full.denoise(y, at)).square().mean().sqrt()) < 0.05


def test_frequency_of_a_pattern_does_not_depend_on_size():
    """A cosine of 2 cycles an image at 16 and at 32 pixels has its energy at the same radial frequency."""
    for size in (16, 32):
        place = (torch.arange(size) + 0.5) / size
        wave = torch.cos(2 * torch.pi * 2 * place).expand(1, 1, size, size)
        prior = SpectralPrior.fit(torch.stack([wave[0], -wave[0]]))
        energy = prior.transform(wave)[0, 0].square().numpy()
        assert frequency(size, size)[np.unravel_index(energy.argmax(), energy.shape)] == pytest.approx(2.0)


def test_resizing_keeps_the_mean(images):
    x = images[1][:4]
    for size in (4, 16):
        assert torch.allclose(resized(x, size).mean((1, 2, 3)), x.mean((1, 2, 3)), atol=0.08)
    assert resized(x, 8) is x
