"""Which prior an audit takes where none is named: the one that knows the images, at a size that shows them."""

import numpy as np
import pytest
import torch
from PIL import Image

from vpaudit import data
from vpaudit.base import files, pixels, places
from vpaudit.base.denoiser import AnySize, shape_for_card
from vpaudit.base.errors import VpauditError
from vpaudit.base.randomness import generator
from vpaudit.commands.audit import budget, job
from vpaudit.commands.audit import prior as priors
from vpaudit.commands.main import main
from vpaudit.measure import prior_choice, prior_mismatch
from vpaudit.priors import find, network, train
from vpaudit.priors.gaussian import GaussianPrior
from vpaudit.priors.radial import RadialPrior
from vpaudit.study.config import Training

# An untrained network that corrects a Gaussian prior is that Gaussian.
NONE = Training(
    architecture="unet", residual=True, optimizer="adamw", compile=False, width=32, levels=1, layers=1, patch_size=4
)  # fmt: skip


def stripes(count: int, side: int, channels: int, across: bool, key: str) -> torch.Tensor:
    """float32 (count, channels, side, side): bars of random brightness and, in colour, random hue."""
    bars = torch.randn((count, channels, 8), generator=generator(key)).mul(0.4).clamp(-1, 1)
    row = torch.nn.functional.interpolate(bars, side, mode="linear")
    whole = row[:, :, None].expand(-1, -1, side, -1)
    return whole if across else whole.transpose(2, 3)


def of_kind(across: bool, side: int = 16, channels: int = 1) -> GaussianPrior:
    return GaussianPrior.fit(stripes(400, side, channels, across, "training"))


# ---------------------------------------------------------------- the score


def test_the_prior_of_their_kind_scores_best():
    few = stripes(12, 16, 1, True, "audited")
    own, other = (prior_choice.score(of_kind(across), (1, 16, 16), few, 0) for across in (True, False))
    spectrum = prior_choice.own_spectrum(few, 0)
    assert own.mean < 0.7 * min(other.mean, spectrum.mean)
    assert own.knows(spectrum)
    assert not other.knows(spectrum)
    assert own.errors == sorted(own.errors, reverse=True)  # less noise, less error


def test_a_prior_of_smaller_images_pays_for_the_detail_it_cannot_hold():
    few = stripes(12, 16, 1, True, "audited")
    scores = [prior_choice.score(of_kind(True, side), (1, side, side), few, 0) for side in (16, 4)]
    assert scores[1].mean > 1.2 * scores[0].mean
    assert scores[1].errors[-1] > 2 * scores[0].errors[-1]
    larger = prior_choice.score(of_kind(True, 32), (1, 32, 32), few, 0)
    assert larger.mean > 0.8 * scores[0].mean  # and by larger images nothing is gained, as their norm is larger too


def test_grey_images_in_three_channels_are_as_hard_as_in_one():
    few = stripes(12, 16, 1, True, "audited")
    grey, tripled = of_kind(True), GaussianPrior.fit(stripes(400, 16, 1, True, "training").repeat(1, 3, 1, 1))
    one, three = (prior_choice.score(p, p.shape, few, 0).mean for p in (grey, tripled))
    assert three == pytest.approx(one, rel=0.1)


def test_far_from_its_own_kind_a_prior_does_not_know_images():
    few, prior = stripes(12, 16, 1, True, "audited"), of_kind(True)
    spectrum = prior_choice.own_spectrum(few, 0)
    levels = {str(s): 0.01 for s in (0.01, 0.1, 1.0, 10.0)}
    assert not prior_choice.score(prior, prior.shape, few, 0, {"held_out_mse_by_sigma": levels}).knows(spectrum)
    easy = {s: 1.0 for s in levels}
    assert prior_choice.score(prior, prior.shape, few, 0, {"held_out_mse_by_sigma": easy}).knows(spectrum)


def test_what_is_usual_at_any_size_is_what_the_prior_expects_there(at_hand):
    """Images of the any-size prior itself, at sizes its card knows nothing of: no excess, though the errors differ."""
    prior, errors = network.load(find.folder("any"), rows=16), {}
    crops = prior.base.colour(torch.randn((64, 3, 64, 64), generator=generator("crops"))) + prior.base.mean
    measured = prior_mismatch.errors(prior, crops, range(64), (0.1, 1.0, 10.0))
    card = {"held_out_mse_by_sigma": {str(s): float(e.mean()) / crops[0].numel() for s, e in measured.items()}}
    for side in (32, 64, 160):
        x = prior.base.colour(torch.randn((24, 3, side, side), generator=generator("larger"))) + prior.base.mean
        found = prior_mismatch.errors(prior, x, range(24), (0.1, 1.0, 10.0))
        for s, usual in prior_mismatch.usual(card, prior, x.shape[1:]).items():
            errors[side, s] = float(found[s].mean()) / x[0].numel()
            assert errors[side, s] == pytest.approx(usual, rel=0.25)
    assert errors[32, 10.0] > 1.25 * errors[160, 10.0], errors


# ---------------------------------------------------------------- the choice


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Five priors: bars across and along in grey, bars across in colour, any size, and one whose weights are cut."""
    folder = tmp_path_factory.mktemp("at_hand")
    colour = GaussianPrior.fit(stripes(400, 16, 3, True, "training"))
    smooth = RadialPrior.fit([stripes(40, 64, 3, across, "any") for across in (True, False)])
    known = {"across": of_kind(True), "along": of_kind(False), "broken": of_kind(True), "colour": colour, "any": smooth}
    for name, base in known.items():
        place = folder / "resources/priors" / name
        train.build_network(base.shape, 0, NONE).save_pretrained(place / "unet")
        train.build_scheduler().save_pretrained(place / "scheduler")
        about = {"shape": shape_for_card(base.shape), "sigma_range": [0.02, 100.0], "fold": NONE.patch_size}
        files.write_json(place / "card.json", about)
        base.save(place / "gaussian", about)
    weights = folder / "resources/priors/broken/unet/diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    return folder


@pytest.fixture
def at_hand(written, tmp_path, monkeypatch):
    """A folder to put images into; no other priors are known."""
    monkeypatch.setenv("VPAUDIT_HOME", str(written))
    monkeypatch.setattr(places, "shipped", list)
    return tmp_path


def saved(folder, images: torch.Tensor) -> str:
    """A folder of these images as PNG."""
    folder.mkdir()
    for k, image in enumerate(pixels.to_uint8(images)):
        Image.fromarray(image).save(folder / f"{k:02d}.png")
    return str(folder)


@pytest.mark.parametrize(
    ("name", "images", "shape"),
    [
        ("across", stripes(8, 16, 1, True, "audited"), (1, 16, 16)),
        ("along", stripes(8, 16, 1, False, "audited").repeat(1, 3, 1, 1), (1, 16, 16)),
        ("colour", stripes(8, 16, 3, True, "audited"), (3, 16, 16)),
    ],
)
def test_each_kind_of_images_gets_its_prior(name, images, shape, at_hand):
    chosen = priors.best(saved(at_hand / "images", images), None, None, False, 0)
    assert (chosen.folder.name, chosen.shape) == (name, shape)
    assert chosen.remarks[0].startswith(f"prior: {name} ({shape[1]}×{shape[2]}")
    assert "next best" in chosen.remarks[1]
    assert f"ms with {name}" in chosen.remarks[2]


def test_images_of_no_special_kind_go_to_the_any_size_prior_at_their_own_size(at_hand):
    noise = torch.randn((8, 3, 96, 96), generator=generator("photographs"))
    images = torch.nn.functional.avg_pool2d(noise, 3, 1, 1)
    folder = saved(at_hand / "images", images.clamp(-1, 1))
    chosen = priors.best(folder, None, None, False, 0)
    assert (chosen.folder.name, chosen.shape) == ("any", (3, 96, 96))
    asked = priors.best(folder, None, 48, False, 0)
    assert (asked.folder.name, asked.shape) == ("any", (3, 48, 48))
    prepared = job.prepare(folder, budget.setup(mu=[5.0]), priors.named("any"), size=48)
    assert prepared.shape == (3, 48, 48)
    assert job.prepare(folder, budget.setup(mu=[5.0]), priors.named("any")).shape == (3, 96, 96)
    assert isinstance(priors.named("any").shape, AnySize)


def test_what_no_prior_knows_is_told_and_goes_into_the_answer(at_hand):
    board = (torch.arange(16)[:, None] + torch.arange(16)).remainder(2).mul(2.0).sub(1).expand(8, 1, 16, 16)
    images = board * torch.linspace(0.3, 1, 8).view(8, 1, 1, 1)
    folder = saved(at_hand / "images", images)
    chosen = priors.best(folder, None, None, False, 0)
    (warning,) = chosen.warnings
    assert "No prior at hand knows" in warning
    assert "train-prior" in warning
    assert warning in job.prepare(folder, budget.setup(mu=[5.0]), chosen).warnings


def test_where_no_prior_fits_what_was_asked_for_the_reason_is_told(at_hand, capsys):
    folder = saved(at_hand / "images", stripes(8, 16, 1, True, "audited"))
    assert main(["audit", "--images", folder, "--mu", "5", "--size", "20", "--grey", "--dry-run"]) == 2
    said = capsys.readouterr().err
    assert "no prior of side 20 of grey images at hand" in said
    assert "broken: " not in said  # of another size, it was not looked into
    assert priors.best(folder, None, 16, True, 0).folder.name == "across"


# ---------------------------------------------------------------- real images

DOMAINS = {  # set and split, the prior of its kind that is shipped, or will be
    "clothes": ("fashion_mnist", "fashion_mnist_dit"),
    "CIFAR-10": ("cifar10_local", "cifar10"),
    "faces": ("faces_64_local", "faces_64"),
    "X-rays": ("chest_xray_64_local", "chest_xray_64"),
    "photographs": ("photos_256_local", "photographs"),
    "digits": ("mnist", ""),
}


@pytest.mark.parametrize("domain", DOMAINS)
def test_each_domain_of_real_images_gets_its_prior(domain, tmp_path, monkeypatch):
    """With no option at all; where the prior of a domain is not shipped, the any-size one or a warning."""
    name, own = DOMAINS[domain]
    try:
        if name == "mnist":
            with np.load(data.read.local_path("MNIST", "mnist_10k.npz")) as file:
                images = file["x"][:24]
        else:
            images = data.select(data.load(name, "test"), 24, 0).images
    except VpauditError as error:
        pytest.skip(str(error))
    np.savez(tmp_path / "audited.npz", x=images)
    chosen = priors.best(str(tmp_path / "audited.npz"), None, None, False, 0)
    if own in find.names():
        assert chosen.folder.name == own
        assert chosen.warnings == ()
        assert chosen.shape[1:] == images.shape[1:3]
    else:
        assert chosen.warnings or chosen.folder.name == "photographs"
