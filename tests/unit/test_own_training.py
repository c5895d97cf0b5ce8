"""From a recorded training to what it leaks: the example and its audit, run short; what does not fit is refused."""

import importlib
import stat

import pandas as pd
import pytest
import torch
from torch import nn

from vpaudit.base.errors import VpauditError
from vpaudit.commands.docs import own_training
from vpaudit.commands.main import main
from vpaudit.opacus import Run
from vpaudit.opacus.audit import RecordedStep, Scaling


@pytest.fixture(scope="module")
def example(root):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(root / "examples/opacus_fashion_mnist")
        yield importlib.import_module("train")


@pytest.fixture(scope="module")
def run(example, tmp_path_factory):
    path = tmp_path_factory.mktemp("own") / "run.vpaudit"
    example.main(["--steps", "3", "--every", "2", "--batch", "8", "--run", str(path)])
    return Run(path)


def test_the_noise_is_what_is_left_of_the_sum(run, example):
    step = RecordedStep(run, 2, example.build)
    assert float(step.noise.std()) == pytest.approx(0.6, rel=0.03)
    assert torch.equal(step.seen(0), step.noise.float() + step.gradient(0)(step.images[0]))


def test_the_audit_of_a_run_says_what_its_step_leaks(run, capsys, tmp_path):
    out = tmp_path / "audit"
    command = ["audit", "--run", str(run.path), "--model", "train:build", "--limit", "1", "--out", str(out)]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "noise multiplier 0.6, expected batch 8" in said
    assert "a malicious server can plant a layer that leaks more" in " ".join(said.split())
    table = pd.read_csv(out / "step-2" / "leaks.csv")
    assert list(table.layer) == ["0", "3", "7", "9", "all"]
    assert (table.equivalent_mu > 0).all()
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in out.rglob("*") if path.is_file())
    (kept,) = (out / "step-2" / "images" / "fashion_mnist_dit").iterdir()
    before = kept.stat().st_mtime_ns
    assert main(command) == 0  # what was found is read, not found again
    assert kept.stat().st_mtime_ns == before


def test_another_model_or_scale_is_refused(run, example):
    with pytest.raises(VpauditError, match="not the recorded one"):
        RecordedStep(run, 0, lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 10)))

    def leaky():
        return nn.Sequential(*(nn.LeakyReLU() if isinstance(m, nn.Tanh) else m for m in example.build()))

    with pytest.raises(VpauditError, match="other norms than were recorded"):
        RecordedStep(run, 0, leaky)
    with pytest.raises(VpauditError, match="not on"):
        RecordedStep(run, 0, example.build, Scaling([0.5], [1.0]))


def test_scaling_is_that_of_torchvision():
    from torchvision.transforms.functional import normalize

    x = torch.rand(2, 3, 4, 4)
    mean, std = [0.1, 0.2, 0.3], [0.5, 0.6, 0.7]
    scaling = Scaling(mean, std)
    assert torch.allclose(scaling.to_network(2 * x - 1), normalize(x, mean, std), atol=1e-6)
    assert torch.allclose(scaling.from_network(normalize(x, mean, std)), 2 * x - 1, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--step", "1", "--model", "train:build"], "no record of step 1"),
        (["--model", "train"], "names no function"),
        (["--model", "no_such_module:build"], "no_such_module"),
        ([], "names no function"),
    ],
)
def test_what_cannot_be_audited_is_named(run, capsys, options, message):
    assert main(["audit", "--run", str(run.path), *options]) == 2
    assert message in capsys.readouterr().err


def test_an_audit_needs_images_or_a_run(capsys):
    assert main(["audit", "--epsilon", "8"]) == 2
    assert "recorded training" in capsys.readouterr().err


def test_the_table_of_attacks_holds_the_paired_difference_to_the_best_other(tmp_path, monkeypatch):
    rows = [("posterior", 1.0, 3.0), ("posterior, one", 0.1, 0.1), ("good", 2.0, 5.0), ("bad", 9.0, 9.0)]
    table = pd.DataFrame(
        [(0.5, name, image, metric, value) for name, *pair in rows for image, value in enumerate(pair)
         for metric in ("mse", "lpips_vgg_64", "seconds")],
        columns=["noise_multiplier", "attack", "image", "metric", "value"],
    )  # fmt: skip
    table.to_parquet(tmp_path / "attacks.parquet")
    monkeypatch.setattr(own_training, "RECORD", tmp_path / "attacks.parquet")
    row = own_training.attacks()["rows"][0]
    assert (row["best"], row["means"][0]) == ("good", 2.0)
    assert row["value"] == pytest.approx(-1.5)
    assert row["low"] < -1.5 < row["high"]


def test_the_table_of_networks_has_means_by_noise_adversary_and_layer(tmp_path, monkeypatch):
    seen = [
        ("all", 1, True, (1.0, 3.0)),
        ("all", 1, False, (1.0, 1.0)),
        ("all", 8, True, (0.5, 0.5)),
        ("0", 1, True, (2, 4)),
    ]
    rows = [
        (layer, batch, told, image, noise, ratio + noise)
        for layer, batch, told, pair in seen for image, ratio in enumerate(pair) for noise in (0.1, own_training.SHOWN)
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["layer", "batch", "told", "image", "noise_multiplier", "ratio"])
    about = {"data": "fashion_mnist", "weights": "initial", "network": "LeNet", "accuracy": 0.1, "departure": 0.5}
    table.assign(**about).to_parquet(tmp_path / "networks.parquet")
    monkeypatch.setattr(own_training, "NETWORKS", tmp_path / "networks.parquet")
    (row,) = own_training.networks()["rows"]
    assert {noise: found[0] for noise, found in row["noise"].items()} == pytest.approx({0.1: 2.1, 0.5: 2.5})
    assert {key: found[0] for key, found in row["others"].items()} == {(True, 1): 2.5, (False, 1): 1.5, (True, 8): 1.0}
    assert row["layers"] == {"0": 3.5}
    assert row["images"] == 2
