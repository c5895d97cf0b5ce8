"""The cosine-diagonal prior against the full Gaussian, and the same pattern at two sizes."""

import numpy as np
import pytest
import torch
from scipy.fft import dctn

from vpaudit.base.randomness import generator
from vpaudit.experiments.scale.run import resized
from vpaudit.priors import cosine, gaussian
from vpaudit.priors.cosine import frequency
from vpaudit.priors.gaussian import GaussianPrior
from vpaudit.priors.spectral import SpectralPrior, shrunk_covariance


@pytest.fixture(scope="module")
def images():
    """Stationary by construction: independent cosine coefficients, colours mixed by a rotation."""
    prior = SpectralPrior(
        torch.full((2, 8, 8), 0.1),
        torch.tensor([[0.6, 0.8], [-0.8, 0.6]], dtype=torch.float64),
        (1 / (1 + frequency(8, 8)) ** 2)[None] * torch.tensor([1.0, 0.3])[:, None, None],
    )
    z = torch.randn((20_000, 2, 8, 8), generator=generator("spectral"), dtype=torch.float64)
    return prior, (prior.mean + prior.inverse(prior.variances.sqrt() * z)).float()


def test_transform_is_orthonormal_and_inverts(images):
    prior, x = images
    coefficients = prior.transform(x[:20])
    assert torch.allclose(prior.inverse(coefficients), x[:20], atol=1e-5)
    assert torch.allclose(coefficients.square().sum((1, 2, 3)), x[:20].square().sum((1, 2, 3)), rtol=1e-5)


def test_transform_is_scipys_and_has_gradients(images):
    x = images[1][:5].double().requires_grad_()
    prior = images[0]
    expected = dctn(torch.einsum("dc,bchw->bdhw", prior.colours, x.detach()).numpy(), axes=(-2, -1), norm="ortho")
    found = prior.transform(x)
    assert np.allclose(found.detach().numpy(), expected)
    found.square().sum().backward()
    assert torch.allclose(x.grad, 2 * x.detach())


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


def dense(prior: SpectralPrior) -> torch.Tensor:
    """float64 (D, D): the covariance, column by column, from the prior's own square root."""
    size = prior.mean.numel()
    root = prior.colour(torch.eye(size, dtype=torch.float64).view(size, *prior.shape)).flatten(1)
    return root.T @ root


@pytest.fixture(scope="module")
def faces():
    """2,000 images of 3 x 8 x 8 with a dense covariance, and the prior that keeps 40 coefficients' own in full."""
    rng = generator("dense covariance")
    mix = torch.randn((192, 192), generator=rng) * (0.9 ** torch.arange(192))
    x = (0.1 + torch.randn((2000, 192), generator=rng) @ mix.T / 10).view(-1, 3, 8, 8)
    return x, SpectralPrior.fit(x, strongest=40)


def test_covariance_is_full_among_the_strongest_and_diagonal_beyond(faces):
    x, prior = faces
    flat = (x - prior.mean).double()
    coefficients = prior.transform(flat).flatten(1)
    rotation = prior.transform(torch.eye(192, dtype=torch.float64).view(-1, 3, 8, 8)).flatten(1)  # rows: F e_i
    mine = rotation.T @ dense(prior) @ rotation
    sample = coefficients.T @ coefficients / len(x)
    assert torch.allclose(mine.diag(), sample.diag(), rtol=1e-4, atol=1e-6)
    strong = torch.zeros(192, dtype=torch.bool).index_fill(0, prior.places, True)
    assert sample.diag()[strong].min() >= sample.diag()[~strong].max()
    expected = shrunk_covariance(coefficients[:, strong])
    assert torch.allclose(mine[strong][:, strong], expected, atol=1e-4 * float(expected.max()))
    off = mine - torch.diag(mine.diag())
    assert off[~strong].abs().max() < 1e-6 * float(expected.max())


@pytest.mark.parametrize("sigma", [0.05, 0.5, 5.0, 100.0])
def test_posterior_mean_flow_and_error_are_those_of_dense_linear_algebra(faces, sigma):
    x, prior = faces
    covariance, identity = dense(prior), torch.eye(192, dtype=torch.float64)
    y = x[:20] + sigma * torch.randn((20, 3, 8, 8), generator=generator("noise", sigma))
    at, then = torch.full((20,), sigma), torch.full((20,), 0.3 * sigma)
    centred = (y - prior.mean).flatten(1).double()
    gain = torch.linalg.solve(covariance + sigma**2 * identity, covariance)
    expected = prior.mean + (centred @ gain).view_as(y).float()
    assert torch.allclose(prior.denoise(y, at), expected, atol=2e-4)
    values, vectors = torch.linalg.eigh(covariance)
    ratio = ((values.clamp_min(0) + (0.3 * sigma) ** 2) / (values.clamp_min(0) + sigma**2)).sqrt()
    moved = prior.mean + (centred @ vectors * ratio @ vectors.T).view_as(y).float()
    assert torch.allclose(prior.transport(y, at, then), moved, atol=2e-4 * (1 + sigma))
    mmse = (sigma**2 * torch.trace(gain) / 192).item()
    assert prior.posterior_mse(sigma) == pytest.approx(mmse, rel=1e-3)


def test_samples_have_its_mean_and_covariance(faces):
    prior = faces[1]
    samples = prior.colour(torch.randn((40_000, 3, 8, 8), generator=generator("samples"))).flatten(1).double()
    covariance = dense(prior)
    spread = 5 * float(covariance.diag().max()) / 40_000**0.5
    assert samples.mean(0).abs().max() < 5 * float(covariance.diag().max().sqrt()) / 40_000**0.5
    assert (samples.T @ samples / len(samples) - covariance).abs().max() < 1.5 * spread


def test_together_at_least_as_good_as_either_on_other_images(faces):
    """The covariance of the strongest, and the spectrum of the rest, against the spectrum alone."""
    x, both = faces
    test, alone = x[1500:], SpectralPrior.fit(x[:1500])
    both = SpectralPrior.fit(x[:1500], strongest=40)
    for sigma in (0.05, 0.2, 1.0, 5.0):
        y, at = test + sigma * torch.randn(test.shape, generator=generator("both", sigma)), torch.full((500,), sigma)
        error = {p: float((p.denoise(y, at) - test).square().mean()) for p in (both, alone)}
        assert error[both] < error[alone]


def test_shrinkage_is_strong_for_few_images_and_gone_for_many():
    """Independent coefficients: what covariance a few samples show is chance."""
    rng = generator("shrinkage")
    few, many = (torch.randn((count, 30), generator=rng) for count in (20, 20_000))
    off = ~torch.eye(30, dtype=torch.bool)
    assert shrunk_covariance(few)[off].abs().max() < 0.2 * (few.T @ few / 20)[off].abs().max()
    tied = many[:, :1] + 0.1 * many
    assert torch.allclose(shrunk_covariance(tied), tied.T @ tied / 20_000, atol=0.01)


def test_gradients_pass_through_what_was_first_used_without_them(faces):
    """Few-step solvers are refined by gradient through flows of priors that were asked before."""
    cosine.matrix.cache_clear()
    prior, x, at = faces[1], faces[0][:2].clone().requires_grad_(), torch.full((2,), 0.4)
    with torch.inference_mode():
        prior.denoise(x, at)
    prior.transport(x, at, at.clone().requires_grad_()).sum().backward()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("half", [False, True])
def test_saved_and_read_back(faces, half, tmp_path):
    prior = faces[1].halved() if half else faces[1]
    prior.save(tmp_path, {"data": "toy"}, half=half)
    again = gaussian.load(tmp_path)
    x, at = faces[0][:3], torch.full((3,), 0.4)
    assert torch.equal(again.denoise(x, at), prior.denoise(x, at))
    assert again.shape == (3, 8, 8)
