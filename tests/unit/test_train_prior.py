"""`vpaudit train-prior`: from a file of images to a prior that is read back, whatever happens in between."""

import io
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image

from vpaudit import data
from vpaudit.base import files, pixels
from vpaudit.base.denoiser import AnySize
from vpaudit.base.errors import VpauditError
from vpaudit.base.randomness import generator
from vpaudit.commands import main
from vpaudit.data import near
from vpaudit.priors import memorisation, network, recipe
from vpaudit.priors.batches import Labelled, Scales, scaled
from vpaudit.priors.gaussian import GaussianPrior
from vpaudit.priors.radial import RadialPrior
from vpaudit.stages import training
from vpaudit.study.config import Training

CANDIDATES = recipe.candidates  # which the tests of whole trainings put a tiny one in the place of

TINY = Training(
    residual=True, precision="float32", compile=False, warmup_steps=2, patch_size=1, width=16, layers=1, heads=1,
    batch_size=32, checkpoint_seconds=0.2,
)  # fmt: skip


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """One tiny network, solvers of little, a small sheet: seconds instead of minutes."""
    monkeypatch.setattr(recipe, "candidates", lambda shape, device: iter([TINY]))
    monkeypatch.setattr(training, "SOLVERS", training.SOLVERS.model_copy(update={"levels": 3, "calls": [2]}))
    monkeypatch.setattr(training, "SOLVER_IMAGES", (8, 16))
    monkeypatch.setattr(training.few_step, "FLOW_CALLS", 8)
    monkeypatch.setattr(training.card, "STEPS", 4)
    monkeypatch.setattr(training.card, "ROWS", 2)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """500 digits as an npz with labels, the first three of them twice."""
    images = data.load("digits", "train")[np.r_[0:500, 0:3]]
    path = tmp_path_factory.mktemp("digits") / "digits.npz"
    np.savez(path, x=images.images, y=images.labels)
    return path


def test_one_command_makes_a_prior_with_a_true_card(digits, tmp_path, capsys):
    out = tmp_path / "mine"
    options = ["--epochs", "3", "--labels", "--device", "cpu", "--licence", "CC BY 4.0", "--source", "scikit-learn"]
    command = ["train-prior", "--images", str(digits), "--out", str(out), *options]
    assert main.main(command) == 0
    card = files.read_json(out / "card.json")
    assert card["images"] == 475  # of 500 different ones, a twentieth is held back
    assert (card["trust_fitted_to"], card["held_out_images"]) == (13, 12)
    assert card["passes"] == pytest.approx(3, abs=0.1)
    assert (card["licence"], card["source"], card["num_classes"]) == ("CC BY 4.0", "scikit-learn", 10)
    for s, error in card["held_out_mse_by_sigma"].items():
        assert error <= 1.002 * card["gaussian_mse_by_sigma"][s]  # trust was fitted to other images
    assert set(card["memorisation"]) >= {"samples", "memorised"}
    loaded = network.load(out)
    assert loaded.shape == (1, 8, 8)
    assert set(loaded.few_step) == {2}
    assert Image.open(out / "samples.png").size == (8 * 8, 11 * 8)
    assert "of the Gaussian" in capsys.readouterr().out
    assert main.main(command) == 2
    assert "already holds a prior" in capsys.readouterr().err


def test_the_card_repeats_what_anyone_can_measure(digits, tmp_path):
    """From the folder alone: trust is fitted to one half of what is held back, the errors are those of the other."""
    out = tmp_path / "mine"
    assert main.main(["train-prior", "--images", str(digits), "--out", str(out), "--epochs", "2"]) == 0
    known, held = training.split(training.distinct(data.read_local(digits, most=10_000).images))
    assert not set(held.ids) & set(known.ids)
    held_out, prior, card = pixels.from_uint8(held.images), network.load(out), files.read_json(out / "card.json")
    again = training.card.held_out_errors(prior, held_out[1::2])
    for s, error in card["held_out_mse_by_sigma"].items():
        assert again["held_out_mse_by_sigma"][s] == pytest.approx(error, rel=2e-3)
    prior.trust = None
    assert training.card.trust_in(prior, held_out[::2]).shares.tolist() == pytest.approx(card["trust"][1], abs=0.02)


def test_a_prior_may_begin_with_the_network_of_another(digits, tmp_path, capsys):
    """Its first step is taken from the other's weights; the card says whose; other sizes and classes are refused."""
    first, second = tmp_path / "first", tmp_path / "second"
    assert main.main(["train-prior", "--images", str(digits), "--out", str(first), "--epochs", "2"]) == 0
    begin = ["train-prior", "--images", str(digits), "--out", str(second), "--epochs", "0.1", "--begin", str(first)]
    assert main.main(begin) == 0
    cards = [files.read_json(folder / "card.json") for folder in (first, second)]
    assert cards[1]["begun_from"] == {"name": "first", "card": cards[0]}
    assert cards[1]["training"]["width"] == TINY.width
    weights = [network.load(folder).network.state_dict() for folder in (first, second)]
    assert all(torch.allclose(a, weights[1][name], atol=5e-3) for name, a in weights[0].items())  # warm-up: small steps
    assert main.main([*begin[:3], "--out", str(tmp_path / "third"), *begin[5:], "--labels"]) == 2
    assert "0 classes, the images are [1, 8, 8] of 10" in capsys.readouterr().err


def test_killed_it_goes_on_by_the_same_command(digits, tmp_path):
    """kill -9 after the first checkpoint; the second run begins at its step."""
    work, out = tmp_path / "work", tmp_path / "mine"
    program = (
        f"import sys; from pathlib import Path; sys.path[:0] = [{os.path.dirname(__file__)!r}];"
        "import test_train_prior as t; t.long_run(*map(Path, sys.argv[1:]))"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(digits), str(work)])
    for _ in range(600):
        if (work / "checkpoint.pt").exists():
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    step = torch.load(work / "checkpoint.pt", weights_only=True)["step"]
    source, held_out, _ = prepared(digits)
    settings = training.settings_of(work, source, "cpu", None, step * 32 / len(source) + 0.2)
    trainer = training.train(source, held_out, settings, work, out, {"data": "digits"}, adopt=True)
    assert [change["step"] for change in trainer.history] == [step]  # its length, and nothing else
    assert trainer.step > step
    assert files.read_json(out / "card.json")["steps"] == trainer.step


def prepared(path):
    known, held = training.split(training.distinct(data.read_local(path, most=10_000).images))
    return training.labelled(known, "cpu", False), pixels.from_uint8(held.images), known


def long_run(path, work) -> None:
    """What the test above kills."""
    source, _, _ = prepared(path)
    settings = TINY.model_copy(update={"images_seen": 32 * 10**6})
    files.write_json(work / "settings.json", settings.model_dump(mode="json"))
    training.Trainer(source, settings, work).run()


def test_time_ends_a_run_and_more_time_continues_it(digits, tmp_path):
    source, _, _ = prepared(digits)
    first = training.settings_of(tmp_path, source, "cpu", 0.02, None)
    assert first.minutes == 0.02
    run = training.Trainer(source, first, tmp_path)
    run.run()
    assert 1.2 <= run.seconds < 6
    more = training.settings_of(tmp_path, source, "cpu", 0.04, None)
    again = training.Trainer(source, more, tmp_path)
    assert again.resume()
    assert again.progress == pytest.approx(0.5, abs=0.4)
    again.run()
    assert again.seconds > run.seconds
    assert again.step > run.step


def altered(images: np.ndarray, how: str) -> np.ndarray:
    """The same pictures, otherwise stored."""
    found = []
    for image in map(Image.fromarray, images):
        if how == "jpeg":
            image.save(encoded := io.BytesIO(), "JPEG", quality=90)
            image = Image.open(encoded)
        elif how == "resized":
            image = image.resize((48, 48), Image.Resampling.LANCZOS).resize(image.size, Image.Resampling.BICUBIC)
        else:
            image = image.point(lambda value: min(255, round(1.15 * value)))
        found.append(np.asarray(image))
    return np.stack(found)


@pytest.mark.parametrize("how", ["jpeg", "resized", "brighter"])
def test_near_duplicates_are_left_out_and_never_on_both_sides(photographs, how):
    plain = photographs[0].permute(0, 2, 3, 1).numpy()[:, :64, :64]
    both = np.concatenate([plain, altered(plain, how)])
    images = data.ImageSet("p", "train", both, np.zeros(60), np.arange(60), ())
    assert training.distinct(images).ids.tolist() == list(range(30))
    assert training.distinct(images[:30], images[40:45]).ids.tolist() == [*range(10), *range(15, 30)]


def test_repeats_are_found_across_blocks(monkeypatch):
    prints = np.sign(np.random.default_rng(0).standard_normal((50, 256))).astype(np.float32)
    prints[31], prints[47] = prints[2], prints[46]
    prints[31, :24] *= -1  # as far as a near duplicate may be
    prints[47, :25] *= -1
    monkeypatch.setattr(near, "AT_ONCE", 8)
    assert np.flatnonzero(near.repeated(prints)).tolist() == [31]


def test_a_planted_copy_is_found_and_smoothness_is_none():
    rng = generator("memorisation")
    training_images = torch.rand((300, 1, 8, 8), generator=rng) * 2 - 1
    held_out, samples = (torch.rand((200, 1, 8, 8), generator=rng) * 2 - 1 for _ in range(2))
    assert not memorisation.examine(samples, held_out, training_images)["memorised"]
    assert not memorisation.examine(0.3 * samples, held_out, training_images)["memorised"]
    samples[:40] = training_images[:40] + 0.02 * torch.randn((40, 1, 8, 8), generator=rng)
    found = memorisation.examine(samples, held_out, training_images)
    assert found["memorised"]
    assert found["share_nearer_than_1_percent_of_held_out"] == pytest.approx(0.2, abs=0.03)
    assert float(memorisation.distances(training_images[:3], training_images)[:, 0].max()) < 0.5


def test_the_better_network_is_taken_where_there_is_time_for_it(monkeypatch):
    large, small = TINY.model_copy(update={"width": 32}), TINY
    monkeypatch.setattr(recipe, "candidates", lambda shape, device: iter([large, small]))
    monkeypatch.setattr(recipe, "images_a_second", lambda source, settings, device: 3200 / settings.width)
    source = Labelled(torch.zeros(400, 1, 8, 8), torch.zeros(400, dtype=torch.int64), 0, "cpu")
    assert recipe.choose(source, "cpu", 1.0, None).width == 16  # 6,000 images of 8,000 wanted, then 12,000
    assert recipe.choose(source, "cpu", 2.0, None).width == 32
    chosen = recipe.choose(source, "cpu", None, 7, horizontal_flip=True)
    assert (chosen.width, chosen.images_seen, chosen.horizontal_flip) == (32, 2800, True)


def test_convolutions_are_trained_in_the_precision_that_is_faster_here(monkeypatch):
    seconds = {"float32": 1.0, "bfloat16": 0.5}
    for has, wanted in ((True, "bfloat16"), (False, "float32")):
        recipe.convolution_precision.cache_clear()
        monkeypatch.setattr(recipe.machine, "cpu_has_bfloat16", lambda has=has: has)
        monkeypatch.setattr(recipe, "_convolution_seconds", seconds.get)
        assert recipe.convolution_precision() == wanted
        assert next(CANDIDATES(AnySize(3), "cpu")).precision == wanted
    recipe.convolution_precision.cache_clear()


def test_too_few_images_and_wrong_numbers_are_refused_by_name(tmp_path, digits, capsys):
    np.savez(tmp_path / "few.npz", x=np.random.default_rng(0).integers(0, 255, (9, 8, 8), dtype=np.uint8))
    for images, option, text in (
        (tmp_path / "few.npz", ["--epochs", "1"], "9 different images"),
        (digits, ["--minutes", "0"], "must be > 0"),
        (digits, ["--minutes", "1", "--size", "4"], "--size 4"),
    ):
        assert main.main(["train-prior", "--images", str(images), "--out", str(tmp_path / "out"), *option]) == 2
        assert text in capsys.readouterr().err


# ---------------------------------------------------------------- any size

UNET = TINY.model_copy(
    update={"architecture": "unet", "optimizer": "adamw", "width": 16, "levels": 2, "patch_size": 2, "batch_size": 4}
)


@pytest.fixture(scope="module")
def photographs():
    """uint8 (30, 3, 128, 128) of the radial prior with a spectrum that falls as f^-2, and that prior."""
    from vpaudit.priors.radial import KNOTS

    knots = torch.linspace(0, 1, KNOTS, dtype=torch.float64)
    spectrum = -2 * knots * 6.58 + 3.0  # from 1/1024 to 0.707 are 6.58 e-folds
    level = torch.full((3,), 0.02, dtype=torch.float64)
    axes = torch.eye(3, dtype=torch.float64)
    prior = RadialPrior(torch.zeros(3, 1, 1), axes, spectrum.expand(3, -1).clone(), level)
    z = torch.randn((30, 3, 128, 128), generator=generator("photographs"))
    images = prior.colour(z).clamp(-1, 1)
    return (images.add(1).mul(127.5).round().byte(), prior)


def test_the_radial_spectrum_is_found_again(photographs):
    images, true = photographs
    found = RadialPrior.fit([pixels.floated(images)])
    for side in (64, 128):  # of total variance, where the images have frequencies
        mine, theirs = (p.at(side, side).variances[0].flatten()[1:].log() for p in (found, true))
        assert float((mine - theirs).abs().mean()) < 0.35
    assert found.shape == AnySize(3)


def test_radial_is_spectral_at_each_size_and_read_back(photographs, tmp_path):
    from vpaudit.priors import gaussian

    prior = RadialPrior.fit([pixels.floated(photographs[0])])
    prior.save(tmp_path, {"data": "toy"})
    again = gaussian.load(tmp_path)
    for height, width in ((32, 48), (70, 33)):
        x, at = torch.randn((2, 3, height, width), generator=generator("x")), torch.full((2,), 0.5)
        assert torch.equal(again.denoise(x, at), prior.denoise(x, at))
        assert torch.equal(prior.at(height, width).denoise(x, at), prior.denoise(x, at))


def test_crops_at_several_scales(photographs):
    source = Scales([photographs[0], photographs[0][:, :, :32, :32]], "cpu")
    shapes = {source.batch(step, 8, 0)[0].shape for step in range(40)}
    assert {(8, 3, 64, 64), (2, 3, 128, 128), (32, 3, 32, 32)} == {tuple(shape) for shape in shapes}
    a, b = (source.batch(7, 8, 0)[0] for _ in range(2))
    assert torch.equal(a, b)
    board = (255 * (torch.arange(128)[:, None] + torch.arange(128)).remainder(2)).byte().expand(2, 3, 128, 128)
    whole, halved = scaled(board, 8, 64).split(4)  # means of four neighbours leave nothing of a chequerboard
    assert whole.abs().min() == 1.0
    assert halved.abs().max() < 1e-6


def test_a_network_of_any_size_trains_and_answers_at_sizes_it_never_saw(photographs, tmp_path):
    known = data.ImageSet("p", "train", photographs[0].permute(0, 2, 3, 1).numpy(), np.zeros(30), np.arange(30), ())
    source, held_out = training.any_size([(known[:24], known[24:])], "cpu")
    settings = UNET.model_copy(update={"images_seen": 12})
    training.finish(source, held_out[:12], settings, tmp_path / "work", tmp_path / "any", {"data": "toy"}, "cpu")
    prior = network.load(tmp_path / "any", rows=4)
    assert prior.shape == AnySize(3)
    assert files.read_json(tmp_path / "any/card.json")["shape"] == {"channels": 3, "low": 32, "high": 512}
    for height, width in ((32, 32), (45, 70), (128, 64)):
        x, at = torch.randn((3, 3, height, width), generator=generator("x")), torch.tensor([0.1, 1.0, 20.0])
        found = prior.denoise(x, at)
        assert found.shape == x.shape
        assert torch.allclose(prior.denoise(x[:1], at[:1]), found[:1], atol=1e-5)
    from vpaudit.attack import reconstruct
    from vpaudit.privacy.mechanism import Observation
    from vpaudit.study.config import Attack

    ones = torch.ones(1, dtype=torch.float64)
    small = Observation(torch.zeros(1, 3, 20, 40), ones, ones, torch.tensor([0]), torch.tensor([0]), "toy", 5.0)
    with pytest.raises(VpauditError, match="any size from 32 to 512"):
        reconstruct.reconstruct(small, prior, Attack(name="a", kind="posterior_mean"), 0)


def test_a_correction_that_images_do_not_bear_out_is_not_trusted():
    """Right in half of the cases by chance: its best share varies around 0, its lower limit seldom is above."""

    class Guess:
        device, base = torch.device("cpu"), GaussianPrior.fit(torch.randn(40, 1, 4, 4, generator=generator("public")))

        def denoise(self, x, sigma):
            wanted = images - self.base.denoise(x, sigma)
            signs = torch.randn(x.shape, generator=torch.Generator().manual_seed(round(1e4 * float(sigma[0]))))
            return self.base.denoise(x, sigma) + self.right * wanted + signs

    images, guess = torch.randn(64, 1, 4, 4, generator=generator("toy")), Guess()
    guess.right = 0.0
    assert (training.card.trust_in(guess, images).shares > 0).double().mean() < 0.4
    guess.right = 3.0
    assert (training.card.trust_in(guess, images).shares > 0).all()
