"""What noise costs: accuracy of a classifier trained by DP-SGD at the budgets of an audit."""

import types

import numpy as np
import pandas as pd
import pytest
from fake_results import write
from PIL import Image

from vpaudit import data
from vpaudit.base.errors import VpauditError
from vpaudit.commands.audit import answer, budget, utility
from vpaudit.commands.audit.output import Output
from vpaudit.measure import utility as measure
from vpaudit.measure.prior_mismatch import HELD_OUT_SIGMAS
from vpaudit.privacy.training import Training
from vpaudit.stages import believed, participation, recognised

SETUP = budget.setup(noise_multiplier=[0.2, 50.0], steps=4)


@pytest.fixture(scope="module")
def shapes():
    """Two classes of 60 images: bars upright and lying, at random places."""
    rng, labels = np.random.default_rng(0), np.arange(120) % 2
    images = rng.integers(0, 60, (120, 28, 28), dtype=np.uint8)
    for image, lying, place in zip(images, labels, rng.integers(4, 20, 120)):
        (image.T if lying else image)[:, place : place + 4] = 220
    return data.ImageSet("shapes", "", images, labels, np.arange(120), ("upright", "lying"))


@pytest.fixture(scope="module")
def answered(tmp_path_factory, shapes):
    """An answer from results in the real formats, with what noise costs on the shapes."""
    results = write(tmp_path_factory.mktemp("utility") / "results")
    about = {"image": 3 * np.arange(30) + 1, "value": 1.0, "reference": 1.0, "reference_kind": "64 samples"}
    pd.concat([pd.DataFrame({**about, "s": s}) for s in HELD_OUT_SIGMAS]).to_parquet(results / "domain.parquet")
    for stage in (participation, believed, recognised):
        stage.NOTHING.to_parquet(results / f"{stage.__name__.split('.')[-1]}.parquet")
    layout = types.SimpleNamespace(
        results=results, summary=results / "summary.json", work=results / "work",
        table=lambda name: results / f"{name}.parquet",
    )  # fmt: skip
    facts = {"study": "x", "images": 30, "reading": [], "shape": "", "prior": "p", "public": "", "unbelieved": ""}
    facts |= {"warnings": []}
    return answer.build(layout, SETUP, facts, lambda noise: utility.measure(shapes, SETUP, layout, 0, noise))


def test_more_noise_costs_accuracy(answered):
    found = answered["utility"]
    low, high = (next(r for r in found["at"] if r["noise_multiplier"] == n) for n in (0.2, 50.0))
    assert low["value"] > 0.9 > high["value"]
    assert found["without"]["value"] - high["value"] == pytest.approx(high["cost"])
    assert high["cost_low"] <= high["cost"] <= high["cost_high"]
    assert {b["noise_multiplier"] for b in answered["budgets"]} <= {row["noise_multiplier"] for row in found["at"]}


def test_paragraph_and_answer_name_the_cost_of_the_noise_recommended(answered):
    noise = answered["recommendation"]["noise"][0]["noise_multiplier"]
    row = next(row for row in answered["utility"]["at"] if row["noise_multiplier"] == noise)
    said = f"on 120 labelled images, a small classifier loses {100 * row['cost']:.1f} points of accuracy"
    assert said in answered["statement"]
    assert "was not measured" not in answered["statement"]
    assert "What noise costs" in answer.text(answered)


def test_the_figure_has_a_point_a_budget_and_measure(answered, tmp_path):
    utility.write(answered, Output(tmp_path / "out"))
    table = pd.read_csv(tmp_path / "out" / "figures" / "utility.csv")
    assert (
        len(table) == len({row["metric"] for row in answered["visible"]}) > 0
    )  # of the other budget no mu was attacked
    assert table["seen"].between(table["seen_low"], table["seen_high"]).all()


def test_each_classifier_is_told_and_one_that_is_kept_is_not_trained_again(shapes, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(utility.utility, "accuracy", lambda *_: 0.5)
    layout = types.SimpleNamespace(work=tmp_path)
    found = utility.measure(shapes, SETUP, layout, 0, [0.2, 50.0])
    lines = capsys.readouterr().err.splitlines()
    assert (lines[0][:26], lines[-1]) == ("[1/15] what noise costs: 0", "[15/15] what noise costs: 0 s")
    monkeypatch.setattr(utility.utility, "accuracy", lambda *_: 0.9)
    assert utility.measure(shapes, SETUP, layout, 0, [0.2, 50.0]) == found


def test_the_cost_grows_with_budgets_and_rounds(shapes):
    few = utility.cost(shapes, SETUP)
    assert few == "utility          20 classifiers on 120 images, 15 of them by DP-SGD: about 1 minute"
    longer = utility.cost(shapes, budget.setup(noise_multiplier=[20.0, 50.0], steps=10_000))
    assert longer.endswith("about 7 minutes")  # every image in every round


def test_an_empty_batch_changes_no_weight_by_nan(shapes):
    """A small sample rate draws no image in some rounds: they release noise alone."""
    rows = measure.features(data_of(shapes))
    rule = Training(0.5, sample_rate=0.005, steps=20, lr=0.1)
    assert 0 <= measure.accuracy(rows, shapes.labels, rule, 0, 0) <= 1


def data_of(shapes):
    from vpaudit.base import pixels

    return pixels.from_uint8(shapes.images)


def test_too_few_images_of_a_class_are_refused(tmp_path):
    for number in range(4):
        folder = tmp_path / f"class{number % 2}"
        folder.mkdir(exist_ok=True)
        Image.fromarray(np.full((28, 28), 50 * number + 20, np.uint8)).save(folder / f"{number}.png")
        Image.fromarray(np.eye(28, k=number, dtype=np.uint8) * 200).save(folder / f"b{number}.png")
    with pytest.raises(VpauditError, match="at least 50 images each; here are 2 classes, the smallest of 2"):
        utility.labelled(str(tmp_path), SETUP, (1, 28, 28), 0)
    with pytest.raises(VpauditError, match="--mu describes none"):
        utility.labelled(str(tmp_path), budget.setup(mu=[5.0]), (1, 28, 28), 0)
