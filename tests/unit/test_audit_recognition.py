"""What an audit says beyond errors: which pixels may be called real, which image it is, which class."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from vpaudit.base import places, stats
from vpaudit.base.errors import VpauditError
from vpaudit.commands.audit import budget, others, page, recognition
from vpaudit.commands.audit import job as audit
from vpaudit.commands.audit import prior as priors
from vpaudit.measure import believed as agreed
from vpaudit.measure import recognition as measure
from vpaudit.stages import believed, privatize, recognised, reconstruct
from vpaudit.stages import data as data_stage
from vpaudit.study.config import Attack
from vpaudit.study.layout import Layout

CLASSES = ("trouser", "ankle boot")
SETUP = budget.setup(noise_multiplier=[0.2])


@pytest.fixture
def clothes(tmp_path):
    """Six images in a folder a class."""
    for k in range(6):
        folder = tmp_path / "clothes" / CLASSES[k % 2]
        folder.mkdir(parents=True, exist_ok=True)
        shown = np.zeros((28, 28), np.uint8)
        shown[4 + k : 20, 8 * (k % 2) : 20] = 200
        Image.fromarray(shown).save(folder / f"{k}.png")
    return tmp_path / "clothes"


# ---------------------------------------------------------------- which one, which class


def test_a_reconstruction_picks_its_image_as_often_as_counting_says():
    """Candidates on a line, so that who is nearer is known; the chance by counting subsets."""
    pool = torch.arange(0.0, 240, 20)[:, None] * torch.ones(1, 16)
    made = torch.tensor([0.0, 25.0, 100.0])[:, None] * torch.ones(1, 16)
    counts = measure.nearer(made, pool[[0, 0, 5]], pool.split(5))
    assert counts.tolist() == [0, 2, 0]
    found = measure.chance(counts, others=11, n=10)
    assert found == pytest.approx([1, math.comb(9, 9) / math.comb(11, 9), 1])


def test_noise_picks_its_image_by_guessing():
    rng = np.random.default_rng(0)
    pool, made = (torch.from_numpy(rng.uniform(-1, 1, (400, 16))) for _ in range(2))
    counts = measure.nearer(made, pool, [pool])
    for n in (10, 100):
        found = stats.counted(measure.chance(counts, 399, n))
        assert found["low"] < 1 / n < found["high"]


def test_a_chance_of_nothing_has_an_upper_limit():
    assert stats.counted(np.zeros(10)) == pytest.approx({"value": 0, "low": 0, "high": 0.308}, abs=1e-3)


def test_classes_are_learnt_from_features_and_guessed_from_the_norm():
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1, 2], 40)
    features = rng.standard_normal((120, 30)) + 5 * np.eye(30)[labels]
    assert measure.classifier(features[::2], labels[::2]).score(features[1::2], labels[1::2]) > 0.8
    norms = labels // 2 + 0.1 * rng.random(120)  # tells the third class alone
    assert 0.5 < measure.by_norm(norms, labels).score(norms[:, None], labels) < 0.9


@pytest.mark.parametrize(("folder", "word"), [("hat", "know no class 'hat'"), ("", "have no classes")])
def test_classes_that_the_public_images_lack_are_refused(clothes, folder, word):
    if folder:
        (clothes / CLASSES[0]).rename(clothes / folder)
    else:
        for path in clothes.glob("*/*"):
            path.rename(clothes / path.name)
    with pytest.raises(VpauditError, match=word):
        audit.prepare(str(clothes), SETUP, priors.named("fashion_mnist_dit"), labels=True)


# ---------------------------------------------------------------- public images


def test_public_images_are_of_the_priors_kind_and_no_targets(clothes):
    job = audit.prepare(str(clothes), SETUP, priors.named("fashion_mnist_dit"), labels=True)
    assert job.others.source == "test images of Fashion-MNIST"
    assert [job.others.public.class_names[k] for k in job.others.labels] == [
        job.chosen.class_names[k] for k in job.chosen.labels
    ]
    own = others.others(priors.named("fashion_mnist_dit"), job.chosen, job.chosen[:4], str(clothes), False, 0)
    assert len(own.public) == 2
    assert {bytes(x) for x in own.public.images}.isdisjoint({bytes(x) for x in job.chosen[:4].images})


def test_public_images_of_another_shape_than_the_priors_are_not_taken():
    prior = priors.named("photographs").sized(64)
    assert others._of_the_card(prior) == (None, "")


# ---------------------------------------------------------------- what may be called real


def test_public_images_are_judged_by_the_others_and_audited_ones_by_all():
    """On half of the pixels samples agree and are right, on the others they differ and are wrong."""
    rng = np.random.default_rng(2)
    x = torch.from_numpy(rng.uniform(-1, 1, (40, 1, 4, 4))).float()
    noise = np.where(np.arange(16).reshape(4, 4) < 8, 1e-3, 2.0)
    draws = x.numpy() + noise * rng.standard_normal((6, *x.shape))
    guess = x.numpy() + (noise > 1)
    public, audited = (believed.Judged(guess[part], draws[:, part], x[part]) for part in (slice(30), slice(30, 40)))
    table = pd.concat(believed._judged("mu=1", public, audited))
    found = recognition.believed(table, "mu=1")
    assert 0.5 <= found["called"]["value"] < 0.6  # now and then samples of noise agree
    assert found["wrong"]["value"] < agreed.RATE
    assert found["limit"] == agreed.trusted_spread(agreed.worst_shares(public.spread, public.error))
    assert recognition.believed(table, "mu=2") is None


def test_images_that_are_harder_than_the_public_ones_are_not_alike():
    def table(more: float) -> pd.DataFrame:
        values = np.random.default_rng(3).standard_normal(60) + more * (np.arange(60) < 30)
        kinds = np.where(np.arange(60) < 30, "audited", "public")
        return pd.DataFrame({"metric": "hardness", "images": kinds, "value": values})

    assert recognition.alike(table(0.0))["alike"]
    assert not recognition.alike(table(2.0))["alike"]
    assert recognition.alike(believed.NOTHING) is None


def test_what_may_not_be_called_real_is_covered(tmp_path):
    guess = np.zeros((1, 1, 1, 2, 2), np.float32)
    draws = np.zeros((3, 1, 1, 2, 2), np.float32)
    draws[1, 0, 0, 0, 0] = 1  # on the first pixel samples differ
    drawn = Attack(name="ddpm", kind="multistep", eta=1.0, draws=3)
    np.savez(tmp_path / "made.npz", **{"unconditional.posterior_mean": guess, "unconditional.ddpm": draws})
    who = {"label": "x", "mu": 1.0, "believed": {"limit": 0.1}}
    with np.load(tmp_path / "made.npz") as file:
        covered, bare = (page._strip(file, who | {"believed": b}, drawn, [0]) for b in ({"limit": 0.1}, None))
    assert covered.covered != covered.guess
    assert bare.covered == ""
    tiles = page._real(guess[0], draws, 0.1)
    assert tiles.tolist() == [[[False, True], [True, True]]]


def test_the_stages_answer_for_each_adversary(clothes, tmp_path, monkeypatch):
    """From images in folders to rows for what is seen; the public images are attacked as the targets are."""
    job = audit.prepare(str(clothes), SETUP, priors.named("fashion_mnist_dit"), labels=True)
    attacks = [
        Attack(name="posterior_mean", kind="posterior_mean"),
        Attack(name="ddpm", kind="multistep", eta=1.0, steps=2, draws=2),
    ]
    monkeypatch.chdir(places.SHIPPED)
    images = tmp_path / "images.npz"
    np.savez(images, x=job.chosen.images)
    about = job.config.recognition.model_copy(update={"calibration": 20, **job.others.paths(tmp_path)})
    there = job.config.data.model_copy(update={"folder": str(images)})
    changes = {"attacks": attacks, "recognition": about, "data": there}
    study = job.config.model_copy(
        update={**changes, "success": job.config.success.model_copy(update={"references": []})}
    )
    job.others.write(tmp_path)
    layout = Layout(study)
    layout.results, layout.work = tmp_path / "results", tmp_path / "work"
    data_stage.targets(study, layout)
    privatize.privatize(study, layout, "5")
    reconstruct.reconstruct(study, layout, "5", device="cpu")
    believed.believed(study, layout, device="cpu")
    recognised.recognised(study, layout, device="cpu")
    sure, told = (pd.read_parquet(layout.table(name)) for name in ("believed", "recognised"))
    assert sure.groupby(["part", "images"])["image"].nunique().to_dict() == {
        ("", "audited"): 6, ("", "public"): 20, ("mu=5", "audited"): 6, ("mu=5", "public"): 20,
    }  # fmt: skip
    rows = sure[sure["metric"] != "limit"]
    assert rows[rows["part"] == "mu=5"]["value"].between(0, 1).all()
    assert recognition.part(SETUP, 0, "one_round") == "mu=5"
    assert set(told["metric"]) == {"mse", "lpips", "class", "class_of_image", "class_by_norm"}
    assert told.loc[told["metric"] == "mse", "value"].between(0, 5).all()
    found = recognition.named_class(told, SETUP, 0, "one_round")
    assert 0 <= found["posterior_mean"]["value"] <= 1
