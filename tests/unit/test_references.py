"""Releases without the target, through the stages of a study of digits: what is told, drawn and written."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from vpaudit import data as data_sets
from vpaudit.base.errors import VpauditError
from vpaudit.base.randomness import KeyedNoise
from vpaudit.data import overlap
from vpaudit.measure import meter
from vpaudit.privacy.mechanism import Mechanism, release_analytic, release_key, release_without_target, separation
from vpaudit.privacy.success import success_test
from vpaudit.stages import adversary, data, evaluate, priors, privatize, reconstruct, report
from vpaudit.study import config as configuration
from vpaudit.study import shards
from vpaudit.study.layout import Layout

ATTACKS = [
    {"name": "raw", "kind": "raw"},
    {"name": "wiener", "kind": "wiener"},
    {"name": "untold", "kind": "wiener", "knowledge": {"lam": "norm"}},
]
TOLD = [*ATTACKS, {"name": "given_norm", "kind": "given_norm"}]


def study(tmp_path, monkeypatch, name="study", **overlay):
    """A study of digits, the Gaussian prior in the network's place, run from data to tables."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(adversary.Priors, "network", property(lambda self: self.gaussian))
    config = configuration.resolve({
        "study": name, "data": {"name": "digits", "images": 60}, "mechanism": {"mu": [0.5, 4]}, "attacks": ATTACKS,
        "prior": {"path": f"results/{name}/prior", "gaussian": f"results/{name}/gaussian"},
        "evaluate": {"metrics": ["mse", "ssim", "ncc"], "unrelated": 1}, **overlay,
    })  # fmt: skip
    layout = Layout(config)
    data.targets(config, layout)
    if config.public_images:
        data.public(config, layout)
    priors.fit_gaussian(config, layout)
    for part in shards.names(config):
        privatize.privatize(config, layout, part)
        reconstruct.reconstruct(config, layout, part, "cpu")
        evaluate.evaluate(config, layout, part, "cpu")
    evaluate.baseline(config, layout, "cpu")
    report.collect(config, layout)
    return config, layout


def test_the_table_holds_every_attack_reference_and_draw(tmp_path, monkeypatch):
    _, layout = study(tmp_path, monkeypatch, success={"draws": 2})
    table = pd.read_parquet(layout.table("references"))
    assert list(table.columns) == list(meter.REFERENCES)
    assert set(table["attack"]) == {"wiener", "untold"}  # raw is left out
    cells = table.groupby(["prior", "attack", "mu", "reference", "draw", "metric"]).size()
    assert len(cells) == 2 * 2 * 2 * 2 * 3
    assert (cells == 60).all()
    assert np.isfinite(table["value"]).all()
    assert (table.query("reference == 'noise'")["separation"] == 1).all()
    mean = table.query("reference == 'mean' and mu == 4 and draw == 0 and attack == 'wiener' and metric == 'mse'")
    assert mean["separation"].between(0.2, 0.99).all()
    made = pd.read_parquet(layout.table("metrics"))
    assert set(made["knowledge"]) == {"sigma known, lambda known", "sigma known, lambda by norm"}


def test_the_theorem_holds_of_a_study_and_fails_where_noise_is_missing(tmp_path, monkeypatch):
    _, layout = study(tmp_path, monkeypatch, success={"draws": 4})
    tables = {name: pd.read_parquet(layout.table(name)) for name in ("metrics", "references")}
    for mu, least in ((0.5, False), (4.0, True)):
        pick = f"attack == 'wiener' and metric == 'mse' and mu == {mu}"
        real = tables["metrics"].query(pick)["value"].to_numpy()
        null = tables["references"].query(f"{pick} and reference == 'noise'")["value"].to_numpy()
        etas = np.quantile(null, np.linspace(0.05, 0.9, 8))
        counts = [(values[:, None] <= etas).sum(0) for values in (real, null)]
        trials = (len(real), len(null))
        assert not success_test(mu, *counts, trials, 8).violated.any()
        assert success_test(mu / 20, *counts, trials, 8).violated.any() == least  # said to be noisier than it is


def test_results_do_not_depend_on_how_the_study_is_cut(tmp_path, monkeypatch):
    whole = study(tmp_path, monkeypatch, attacks=TOLD)[1]
    cut = study(tmp_path, monkeypatch, "cut", attacks=TOLD, jobs={"images_per_job": 25}, shard_size=7)[1]
    keys = ["mu", "reference", "prior", "attack", "metric", "image", "draw"]
    a, b = (pd.read_parquet(layout.table("references")).sort_values(keys, ignore_index=True) for layout in (whole, cut))
    pd.testing.assert_frame_equal(a, b, rtol=1e-4)  # round-off of matrices of other shapes
    for mu in ("0.5", "4"):
        assert len(list((whole.work / "given_norm").iterdir())) == len(list((cut.work / "given_norm").iterdir())) == 2
        parts = [np.load(cut.reconstruction(f"{mu}_shard=000{i}"))["unconditional.given_norm"] for i in range(3)]
        made = np.load(whole.reconstruction(mu))["unconditional.given_norm"]
        np.testing.assert_allclose(np.concatenate(parts, axis=1), made, atol=1e-5)


def test_the_norm_helps_and_no_target_is_among_the_public_images(tmp_path, monkeypatch):
    everything = data_sets.load("digits", "test")
    known = data_sets.load("digits", "train")
    both = {k: np.concatenate([getattr(everything, k), getattr(known, k)]) for k in ("images", "labels")}
    leaking = replace(known, **both, ids=np.arange(len(both["labels"])))
    monkeypatch.setattr(data, "training_images", lambda config, full=True: leaking)
    _, layout = study(tmp_path, monkeypatch, attacks=TOLD)
    targets, public = (set(overlap.hashes(np.load(path)["images"])) for path in (layout.targets, layout.public))
    assert len(public) > 1000
    assert not targets & public
    mse = pd.read_parquet(layout.table("metrics")).query("metric == 'mse'").groupby(["mu", "attack"])["value"].mean()
    assert mse[0.5, "given_norm"] < 0.99 * mse[0.5, "wiener"]


def test_a_folder_without_training_images_has_no_public_ones(root):
    folder = {"folder": "images.zip", "images": 4}
    assert not configuration.resolve({"data": folder}).public_images
    assert configuration.resolve({"data": {**folder, "train": "others.zip"}}).public_images
    assert configuration.resolve({}).public_images
    assert not configuration.load(root / "config/paper.yaml").public_images


def test_no_reference_leaves_an_empty_table(tmp_path, monkeypatch):
    _, layout = study(tmp_path, monkeypatch, success={"references": []})
    table = pd.read_parquet(layout.table("references"))
    assert list(table.columns) == list(meter.REFERENCES)
    assert table.empty


# ---------------------------------------------------------------- the releases


def observed(seed=0, mu=2.0):
    x = torch.rand((5, 1, 6, 6), generator=torch.Generator().manual_seed(seed)) * 2 - 1
    ids = torch.arange(5)
    return x, release_analytic(x, ids, torch.zeros_like(ids), Mechanism(mu), "d", 7)


def test_noise_is_its_own_and_independent_of_the_target():
    mean, rule = torch.zeros(1, 6, 6), Mechanism(2.0)
    (_, one), (_, other) = observed(0), observed(1)
    a, b = (release_without_target(seen, "noise", mean, rule, 7) for seen in (one, other))
    assert torch.equal(a.y, b.y)
    assert torch.equal(a.lam, one.lam)
    assert not torch.equal(a.lam, b.lam)  # lambda is told, and is the target's
    own = rule.sigma * KeyedNoise([release_key(7, "d", i, 2.0) for i in range(5)], (1, 6, 6))()
    draws = [a.y, release_without_target(one, "noise", mean, rule, 7, 1).y, own]
    draws.append(release_without_target(one, "mean", mean, rule, 7).y)
    for i in range(4):
        for j in range(i):
            assert abs(float(torch.corrcoef(torch.stack([draws[i].flatten(), draws[j].flatten()]))[0, 1])) < 0.3
    assert float(a.y.std()) == pytest.approx(0.5, rel=0.15)
    part = release_without_target(one[1:3], "noise", mean, rule, 7)
    assert torch.equal(part.y, a.y[1:3])


def test_the_mean_is_released_at_the_targets_lambda():
    x, seen = observed()
    mean, rule = torch.full((1, 6, 6), 0.4), Mechanism(1e6)  # next to no noise
    released = release_without_target(seen, "mean", mean, rule, 7)
    assert torch.allclose(released.y, seen.lam.float().view(-1, 1, 1, 1) * mean, atol=1e-4)
    away = separation(x, "mean", mean, rule)
    assert away.tolist() == pytest.approx([float(seen.lam[i] * (x[i] - mean).norm()) for i in range(5)], rel=1e-6)
    assert separation(x, "noise", mean, rule).tolist() == [1] * 5
    with pytest.raises(VpauditError, match="no reference release 'blank'"):
        release_without_target(seen, "blank", mean, rule, 7)


def test_an_attack_that_is_not_told_lambda_makes_the_same_of_noise_whatever_the_target(tmp_path, monkeypatch):
    """Bitwise: the output does not depend on the target; told lambda, it does."""
    made = []
    for seed in (0, 1):
        monkeypatch.setattr(data, "targets", lambda config, layout, seed=seed: other_targets(layout, seed))
        layout = study(tmp_path, monkeypatch, f"s{seed}")[1]
        made.append(np.load(layout.references("4")))
    assert np.array_equal(made[0]["noise.gaussian.untold"], made[1]["noise.gaussian.untold"])
    assert not np.array_equal(made[0]["noise.gaussian.wiener"], made[1]["noise.gaussian.wiener"])


def other_targets(layout, seed):
    """Images of the same ids, but others."""
    layout.targets.parent.mkdir(parents=True, exist_ok=True)
    images = np.random.default_rng(seed).integers(0, 256, (60, 8, 8), np.uint8)
    np.savez(layout.targets, images=images, labels=np.zeros(60, np.int64), ids=np.arange(60), class_names=["a"])
