"""`import vpaudit`: the same numbers as the packages below it, bad input by name, torch only when it is needed."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch

import vpaudit
from vpaudit.base import pixels
from vpaudit.priors.gaussian import GaussianPrior


@pytest.fixture
def images():
    return torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture
def prior(images):
    return GaussianPrior(images.mean(0), torch.eye(64), torch.full((64,), 0.3))


def test_importing_is_as_fast_as_before_and_every_name_is_there():
    code = "import sys, vpaudit; print(len([m for m in ('torch', 'numpy', 'pydantic', 'yaml') if m in sys.modules]))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "0"
    assert set(vpaudit.__all__) <= set(dir(vpaudit))
    assert all(getattr(vpaudit, name).__doc__ for name in vpaudit.__all__)
    with pytest.raises(AttributeError, match="relase"):
        vpaudit.relase  # noqa: B018


def test_an_image_does_not_depend_on_those_beside_it(images, prior):
    whole = vpaudit.release(images, mu=5)
    alone = vpaudit.release(images[2:], mu=5, ids=[2])
    torch.testing.assert_close(whole.y[2:], alone.y)
    torch.testing.assert_close(
        vpaudit.posterior_samples(whole, prior, 2, steps=3)[:, 2:], vpaudit.posterior_samples(alone, prior, 2, steps=3)
    )


def test_bytes_are_brought_to_the_range(images):
    raw = pixels.to_uint8(images)
    torch.testing.assert_close(vpaudit.release(raw, mu=5).y, vpaudit.release(pixels.from_uint8(raw), mu=5).y)


@pytest.mark.parametrize("kind", ["raw", "wiener", "posterior_mean", "ddim", "multistep", "heun"])
def test_every_kind_gives_images(images, prior, kind):
    made = vpaudit.reconstruct(vpaudit.release(images, mu=5), prior, kind, steps=3)
    assert made.shape == images.shape
    assert made.abs().max() <= 1


def test_metrics_are_unreduced_and_in_the_order_asked_for(images):
    found = vpaudit.compare(images, images.flip(0), ["ssim", "mse"])
    assert list(found) == ["ssim", "mse"]
    assert found["mse"].shape == (3,)
    assert found["mse"][1] == 0


def test_epsilon_and_mu_are_inverse_and_rero_is_between_guessing_and_one():
    for training in ({}, {"steps": 10}, {"steps": 100, "sample_rate": 0.1}):
        assert vpaudit.epsilon(vpaudit.mu(8, **training), **training) == pytest.approx(8, rel=2e-4)
        assert 1e-3 < vpaudit.rero(vpaudit.mu(8, **training), 1e-3, **training) < 1
    assert vpaudit.rero(0, 0.01) == pytest.approx(0.01)
    np.testing.assert_allclose(vpaudit.rero([1.0, 2.0], 0.5), [0.5 * math.erfc(-m / math.sqrt(2)) for m in (1, 2)])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x, p: vpaudit.release(x[0], 5), r"shape \(1, 8, 8\)"),
        (lambda x, p: vpaudit.release(x * 3, 5), "values from"),
        (lambda x, p: vpaudit.release(x * torch.nan, 5), "values from nan"),
        (lambda x, p: vpaudit.release(x[:0], 5), "at least one"),
        (lambda x, p: vpaudit.release(x, 0), "mu=0 must be > 0"),
        (lambda x, p: vpaudit.release(x, 5, labels=[1]), "give 3 whole numbers"),
        (lambda x, p: vpaudit.release(x, 5, by="hand"), "opacus"),
        (lambda x, p: vpaudit.reconstruct(vpaudit.release(x, 5), p, "dim"), "ddim"),
        (lambda x, p: vpaudit.reconstruct(vpaudit.release(x, 5), p, spaceing="log"), "did you mean 'spacing'"),
        (lambda x, p: vpaudit.reconstruct(vpaudit.release(x, 5), None), "needs a prior"),
        (lambda x, p: vpaudit.reconstruct(vpaudit.release(x[..., :4], 5), p), "prior makes images of shape"),
        (lambda x, p: vpaudit.posterior_samples(vpaudit.release(x, 5), p, 0), "draws"),
        (lambda x, p: vpaudit.compare(x, x[:2]), "cannot compare"),
        (lambda x, p: vpaudit.compare(x, x, ["lpips"]), "no metric 'lpips'"),
        (lambda x, p: vpaudit.load_prior("nowhere"), "known: .*fashion_mnist_dit"),
        (lambda x, p: vpaudit.epsilon(-1), "mu=-1 must be > 0"),
        (lambda x, p: vpaudit.rero(1, 2), "kappa=2"),
    ],
)
def test_bad_input_is_refused_by_name(images, prior, call, words):
    with pytest.raises(vpaudit.VpauditError, match=words) as caught:
        call(images, prior)
    assert caught.value.hint
