"""Imprinted images in gradients that Opacus clipped and noised: unmixed exactly, with the noise that theory says."""

import pytest
import torch

from vpaudit.attack import gradients
from vpaudit.base.errors import VpauditError
from vpaudit.base.randomness import generator
from vpaudit.privacy.mechanism import Mechanism

SHAPE = (1, 12, 12)


@pytest.fixture(scope="module")
def images():
    """200 images of spread-out brightness."""
    base = torch.rand((200, *SHAPE), generator=generator("base")) - 0.5
    return (base + torch.linspace(-0.5, 0.5, 200)[:, None, None, None]).clamp(-1, 1)


def seen_of(images, design, mu, count, rows=64, strength=30.0, key=("toy", 0)):
    x, labels = images[torch.arange(count) * (200 // count) + 3], torch.arange(count) % 10
    network = gradients.ImprintNetwork(SHAPE, rows, 10, design, images, strength)
    released = gradients.release(network, x, labels, Mechanism(mu), 0, key)
    seen, separable = gradients.observe(released, SHAPE, torch.arange(count), labels, "toy", mu)
    return x[separable], seen, separable, released


@pytest.mark.parametrize("design", gradients.DESIGNS)
def test_without_noise_separable_images_come_out_whole(images, design):
    """At mu = 1e6 what is separated is the image: the mixing told is the one Opacus applied."""
    x, seen, separable, _ = seen_of(images, design, 1e6, 10)
    assert separable.float().mean() >= 0.5
    assert float((seen.y - x).abs().max()) < 0.02


@pytest.mark.parametrize("design", gradients.DESIGNS)
def test_residuals_have_the_stated_noise(images, design):
    """Over repeated releases: std of (y - x) / s is 1, image by image, and the share cannot exceed 1."""
    ratios = []
    for repeat in range(12):
        x, seen, _, _ = seen_of(images, design, 20.0, 6, key=("toy", repeat))
        residual = (seen.rescaled() - x).flatten(1).double() / seen.s[:, None]
        ratios.append(residual.std(dim=1))
        assert (gradients.share(seen, x, 20.0) <= 1 + 1e-6).all()
    assert float(torch.stack(ratios).mean()) == pytest.approx(1, abs=0.03)


def test_a_strong_imprint_of_one_image_is_the_simple_release(images):
    """Alone in its bin, with the other layers' gradient negligible, an image has nearly all of the clipping norm."""
    x, seen, _, _ = seen_of(images, "sparse", 10.0, 1, strength=1e4)
    assert float(gradients.share(seen, x, 10.0)) == pytest.approx(1, abs=0.05)
    x, seen, _, _ = seen_of(images, "fowl", 10.0, 1, strength=1e4)
    assert float(gradients.share(seen, x, 10.0)) == pytest.approx(1, abs=0.05)


def test_a_weak_imprint_leaves_the_gradient_to_other_layers(images):
    shares = [
        float(gradients.share(seen, x, 10.0).mean())
        for x, seen, _, _ in (seen_of(images, "sparse", 10.0, 8, strength=v) for v in (300.0, 0.5, 0.02))
    ]
    assert shares[0] > shares[1] > shares[2]
    assert shares[2] < 0.3


def test_images_of_one_bin_are_not_taken_for_separate(images):
    """Two images with the same mean fire the same rows: neither may be claimed."""
    twin = images[100].flip(-1)
    x = torch.stack([images[100], twin, images[10]])
    network = gradients.ImprintNetwork(SHAPE, 32, 10, "sparse", images, 30.0)
    released = gradients.release(network, x, torch.tensor([1, 1, 2]), Mechanism(1e5), 0, ("toy", 0))
    _, separable = gradients.observe(released, SHAPE, torch.arange(3), torch.arange(3), "toy", 1e5)
    assert separable.tolist() == [False, False, True]


def test_rows_that_no_image_fires_hold_nothing_but_noise(images):
    _, _, _, released = seen_of(images, "sparse", 20.0, 5)
    assert len(released.blank) > 1000
    assert float(released.blank.std()) == pytest.approx(1 / 20, rel=0.05)


def test_the_network_is_left_as_it_was_and_designs_are_checked(images):
    network = gradients.ImprintNetwork(SHAPE, 8, 10, "fowl", images)
    before = [p.clone() for p in network.parameters()]
    gradients.release(network, images[:3], torch.zeros(3, dtype=torch.int64), Mechanism(5.0), 0, ("toy", 0))
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters()))
    with pytest.raises(VpauditError, match="imprint design"):
        gradients.ImprintNetwork(SHAPE, 8, 10, "curious", images)
