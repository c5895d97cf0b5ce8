"""docs/extending.md's worked example: weights that nobody here trained, behind the same interface as all others."""

import numpy as np
import pytest
import torch

from vpaudit import data
from vpaudit.attack import reconstruct
from vpaudit.base import pixels
from vpaudit.base.denoiser import Denoiser
from vpaudit.base.errors import VpauditError
from vpaudit.data import read
from vpaudit.experiments.shift import run as shift
from vpaudit.experiments.shift.third_party import ThirdPartyPrior
from vpaudit.priors.gaussian import GaussianPrior
from vpaudit.privacy.mechanism import Mechanism, release_analytic
from vpaudit.study.config import Attack

TIMES = (20, 100, 300, 600, 900)
# Mean squared error of the predicted epsilon on the first 64 test images of a set, as whoever packed the weights
# measured it: in this order, with the noise of one generator of seed 0.
MEASURED = {
    ("fashion", "fashion"): ("0.334", "0.134", "0.041", "0.0087", "0.0038"),
    ("fashion", "mnist"): ("0.222", "0.111", "0.075", "0.0115", "0.0037"),
    ("mnist", "fashion"): ("0.951", "0.481", "0.143", "0.0111", "0.0031"),
    ("mnist", "mnist"): ("0.135", "0.068", "0.033", "0.0084", "0.0030"),
}


def local(file: str):
    try:
        return read.local_path("third-party weights", file)
    except VpauditError as error:
        pytest.skip(str(error))


def test_the_network_predicts_as_its_packer_measured_to_every_digit():
    priors = {name: ThirdPartyPrior(local(f"weights_third_party/ddpm_{name}.pt")) for name in ("fashion", "mnist")}
    images = {"fashion": data.load("fashion_mnist", "test").images, "mnist": np.load(local("mnist_10k.npz"))["x"]}
    abar, rng = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000), 0), torch.Generator().manual_seed(0)
    for (name, kind), expected in MEASURED.items():
        x0 = pixels.from_uint8(images[kind][:64])
        for t, value in zip(TIMES, expected):
            z = torch.randn(x0.shape, generator=rng)
            found = priors[name].epsilon(abar[t].sqrt() * x0 + (1 - abar[t]).sqrt() * z, torch.full((64,), t))
            digits = len(value) - 2
            assert float((found - z).square().mean()) == pytest.approx(float(value), abs=0.51 * 10**-digits)


def test_it_attacks_as_any_prior_and_beats_a_gaussian_on_its_own_kind():
    prior = ThirdPartyPrior(local("weights_third_party/ddpm_fashion.pt"))
    assert isinstance(prior, Denoiser)
    x = pixels.from_uint8(data.load("fashion_mnist", "test").images[:48])
    gaussian = GaussianPrior.fit(pixels.from_uint8(data.load("fashion_mnist", "train").images))
    ids = torch.arange(48)
    seen = release_analytic(x, ids, ids, Mechanism(20.0), "clothes", 0)
    error = {}
    for kind, model in (("network", prior), ("gaussian", gaussian)):
        found = reconstruct.reconstruct(seen, model, Attack(name="mean", kind="posterior_mean"), 0)
        error[kind] = float((found - x).square().mean())
    assert error["network"] < 0.9 * error["gaussian"]


def test_two_rungs_of_the_ladder_of_priors_make_images_of_their_kind(monkeypatch):
    local("weights_third_party/ddpm_fashion.pt")
    monkeypatch.setattr(shift, "FITTED", 24)
    rungs = shift.trained_by_others((1, 28, 28), 0)
    assert list(rungs) == ["clothes, by others", "MNIST, by others"]
    clothes = pixels.from_uint8(data.load("fashion_mnist", "train").images[:24])
    digits = pixels.from_uint8(np.load(local("mnist_10k.npz"))["x"][:24])
    ink = [float(images.mean()) for images in (clothes, digits)]
    made = [float(rung.images.mean()) for rung in rungs.values()]
    assert made == pytest.approx(ink, abs=0.15)
    assert ink[0] - ink[1] > 0.3
    assert shift.trained_by_others((1, 8, 8), 0) == {}


def test_a_rung_whose_weights_are_not_here_is_left_out_and_named(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(shift, "SHARED", tmp_path)
    assert shift.trained_by_others((1, 28, 28), 0) == {}
    assert "'clothes, by others' is left out" in capsys.readouterr().out
