"""What is recognised over mu: chances, guessing, bounds, where each ends, and the figure of several studies."""

import types

import numpy as np
import pandas as pd
import pytest
import torch

from vpaudit import data
from vpaudit.base import pixels
from vpaudit.experiments.recognition import run as experiment
from vpaudit.privacy.rero import gamma_of_mu
from vpaudit.report import recognition
from vpaudit.report.figures import style
from vpaudit.study.config import Config
from vpaudit.study.layout import Layout


def rows(metric, value, images=40, attack="posterior_mean", told=True, among=0, mu=np.nan) -> pd.DataFrame:
    about = {"metric": metric, "attack": attack, "told": told, "among": among, "mu": mu}
    return pd.DataFrame({"image": range(images), "value": (np.arange(images) < value * images).astype(float), **about})


@pytest.fixture(scope="module")
def table():
    """An image among 10 that is named ever more often, and a class of four."""
    tables = [rows("class_guessed", share, 100, "", told) for told, share in ((True, 0.4), (False, 0.25))]
    for mu, share in ((1.0, 0.1), (2.0, 0.2), (5.0, 0.9)):
        tables += [
            rows(metric, share, attack=attack, told=told, among=10 * (metric != "class"), mu=mu)
            for attack, told in (("posterior_mean", True), ("posterior_mean_untold", False))
            for metric in ("mse", "lpips", "class")
        ]
    return pd.concat(tables, ignore_index=True)


def test_guessing_is_by_what_is_told_and_bounds_what_any_adversary_reaches(table):
    found = recognition.shares(table).set_index(["metric", "attack", "mu"])
    assert found.loc[("mse", "posterior_mean", 1.0), "guess"] == 0.1
    assert found.loc[("class", "posterior_mean", 1.0), "guess"] == 0.4
    assert found.loc[("class", "posterior_mean_untold", 1.0), "guess"] == 0.25
    assert found.loc[("class", "posterior_mean", 2.0), "bound"] == pytest.approx(gamma_of_mu(2.0, 0.4))
    assert found.loc[("mse", "posterior_mean_untold", 2.0), "bound"] == pytest.approx(gamma_of_mu(2.0, 0.1))
    assert np.isnan(found.loc[("mse", "posterior_mean", 2.0), "bound"])  # the norm alone may name the image
    assert found["n"].eq(40).all()
    assert (found["low"] <= found["value"]).all()
    assert (found["value"] <= found["high"]).all()


def test_it_ends_where_the_lower_limit_passes_guessing(table):
    found = recognition.ends(recognition.shares(table)).set_index(["metric", "attack"])
    assert found.loc[("mse", "posterior_mean"), ["hidden", "seen"]].tolist() == [2.0, 5.0]  # 0.2 [0.09, 0.36] of 40
    never = recognition.shares(table[table["mu"].isna() | (table["mu"] < 2)])
    assert recognition.ends(never)["seen"].isna().all()


def test_the_figure_has_a_row_a_study_and_no_panel_of_classes_where_there_are_none(table):
    clothes = recognition.shares(table).assign(study="clothes")
    faces = clothes[clothes["metric"] != "class"].assign(study="faces")
    figure = recognition.draw(pd.concat([clothes, faces]), style.get("default"))
    shown = [axes for axes in figure.axes if axes.axison]
    assert (len(figure.axes), len(shown)) == (4, 3)
    assert len(recognition.draw(faces, style.get("default")).axes) == 1


def test_a_perfect_attack_names_every_image_and_noise_none(monkeypatch, tmp_path):
    """On invented images of two classes, told apart by which half is bright; at mu = 5 the target is made."""
    rng, labels = np.random.default_rng(0), np.arange(120) % 2
    images = rng.integers(0, 100, (120, 28, 28), dtype=np.uint8)
    images[labels == 1, :14] += 120
    images[labels == 0, 14:] += 120
    test = data.ImageSet("invented", "test", images, labels, np.arange(120), ("up", "down"))
    monkeypatch.setattr(data, "load", lambda name, split: test)
    x = pixels.from_uint8(images[:20])
    noise = torch.from_numpy(rng.uniform(-1, 1, x.shape)).float()
    config = Config()
    config = config.model_copy(update={"mechanism": config.mechanism.model_copy(update={"mu": [0.2, 5.0]})})
    layout = Layout(config)
    layout.results = tmp_path
    np.savez(layout.targets, images=images[:20], labels=labels[:20], ids=np.arange(100, 120))
    layout.reconstruction("5").parent.mkdir()
    for mu, made in (("0.2", noise), ("5", x)):
        outputs = {f"unconditional.{attack}": made.numpy()[None] for attack in recognition.ATTACKS}
        np.savez(layout.reconstruction(mu), **outputs)
    bench = types.SimpleNamespace(config=config, layout=layout, data_set="invented")
    found = experiment.run(bench)
    assert set(found["among"]) == {0, 10, 100}  # there are not 1,000
    assert set(found.loc[found["mu"].notna(), "image"]) == set(range(100, 120))
    means = recognition.shares(found).set_index(["metric", "attack", "among", "mu"])["value"]
    for attack in recognition.ATTACKS:
        assert means["mse", attack, 10, 5.0] == means["lpips", attack, 100, 5.0] == means["class", attack, 0, 5.0] == 1
        assert means["mse", attack, 100, 0.2] < 0.2
    assert found.loc[found["metric"] == "class_of_image", "value"].mean() == 1
    blind = found[found["metric"] == "class_guessed"]
    assert blind.loc[~blind["told"].astype(bool), "value"].mean() == 0.5
