"""What moves in the page: sentences from the tables, images within a budget, nothing that names private images."""

import base64
import io as memory
import json
import re
import stat

import numpy as np
import pandas as pd
import pytest
import yaml
from fake_results import CANDIDATES, EPSILON, write, write_figures
from fake_results import MU as ALL
from PIL import Image
from scipy.stats import norm

from vpaudit.base.labels import number
from vpaudit.report import figures, page, words
from vpaudit.report.page import explorer, sprites
from vpaudit.report.results import Results

MU = (1.0, 5.0, 50.0)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return Results(write(tmp_path_factory.mktemp("study") / "results", mu=MU, images=30))


def summary_of(study) -> dict:
    return json.loads((study.folder / "summary.json").read_text())


def opened(uri: str) -> np.ndarray:
    return np.array(Image.open(memory.BytesIO(base64.b64decode(uri.split(",")[1]))))


def test_an_audit_says_what_is_recovered_at_every_level(study):
    levels = words.audit(study, summary_of(study))
    assert [level["mu"] for level in levels] == list(MU)
    for level, epsilon in zip(levels, (EPSILON[ALL.index(mu)] for mu in MU)):
        first, metrics, bounds, *budget, estimate = level["sentences"]
        start = f"At ε = {number(epsilon)} (µ = {level['mu']:g}) an attacker who knows the training images of discs"
        assert first.startswith(start)
        near = words.at(study.recovered("posterior_mean"), level["mu"])
        assert words.percent(near) in first
        assert metrics.startswith("One plausible picture (DDIM)")
        curve = words.at(study.curve("unconditional", "posterior_mean", "mse"), level["mu"])
        assert f"is {number(curve['value'])} [{number(curve['low'])}, {number(curve['high'])}]" in bounds
        gamma = norm.cdf(level["mu"] + norm.ppf(1 / CANDIDATES))
        assert f"one of {CANDIDATES} candidates" in bounds
        assert words.share(gamma) in bounds
        spent = words.at(study.strongest("mse"), level["mu"])["low"]
        assert bool(budget) == (spent > 0)
        assert not budget or f"at least {number(spent)} by MSE" in budget[0]
        draws = study.agreement.query(f"metric == 'mse' and mu == {level['mu']}")
        assert f"at {number(draws['agreement'].mean())}; it is {number(draws['achieved'].mean())} (" in estimate


def test_output_that_suits_any_image_recovers_nothing(study):
    """Values of the baseline in place of the attack's: by every metric a share of 0."""
    read = Results(study.folder)
    read.metrics = read.metrics.copy()
    for metric in read.measured:
        for attack in ("ddim", "posterior_mean"):
            others = read.others(attack, metric)
            here = read.metrics.query(f"metric == '{metric}' and attack == '{attack}' and prior == 'unconditional'")
            values = [others.loc[row.image, row.mu] for row in here.itertuples()]
            read.metrics.loc[here.index, "value"] = values
    for level in words.audit(read, summary_of(study)):
        assert level["shows"].startswith(words.NOTHING)
        assert level["sentences"][1].startswith("One plausible picture (DDIM) recovers 0\u00a0% [0, 0] by MSE, 0")


def test_a_study_without_draws_or_diffusion_attack_leaves_sentences_out(study):
    read = Results(study.folder)
    read.metrics = read.metrics[read.metrics["attack"].isin(["raw", "wiener"])]
    read.references = read.references[read.references["attack"] == "wiener"]
    read.agreement = read.agreement.iloc[:0]
    for level in words.audit(read, summary_of(study)):
        (sentence,) = level["sentences"]
        assert "candidates" in sentence
        assert level["shows"] == "not measured"


def test_names_of_cards_are_told_as_titles():
    assert words.known_to({"prior": {"data": "fashion_mnist, train split"}}) == "the training images of Fashion-MNIST"
    faces = "Faces of adults (UTKFace, 2017), 12,000 for training; JPEG, train split"
    assert words.known_to({"prior": {"data": faces}}) == "the training images of Faces of adults (UTKFace, 2017)"
    assert "not recorded" in words.known_to({"prior": {"data": None}})


def test_images_are_picked_class_by_class():
    labels = np.array([0, 0, 2, 1, 2, 0])
    assert sprites.pick(labels, 5) == [0, 3, 2, 1, 4]
    assert sprites.pick(np.full(4, -1), 3) == [0, 1, 2]


def test_sheets_hold_the_arrays_clipped_and_not_stretched(study):
    outputs = sprites.rows(study)
    made = sprites.build(study, outputs)
    assert len(made.sheets) == len(made.maps) == sprites.SHOWN
    sheet, spread = opened(made.sheets[3]), np.asarray(opened(made.maps[3]))
    with study.arrays("reconstructions", MU[2]) as file:
        for row, output in list(enumerate(outputs))[1:]:
            tile = sheet[row * 17 : row * 17 + 16, 2 * 17 : 2 * 17 + 16]
            wanted = file[output.key][output.draw, made.places[3], 0]
            assert np.abs(tile / 127.5 - 1 - wanted).max() <= 0.5 / 127.5 + 1e-6
        between = file["unconditional.ddpm"][:, made.places[3], 0].std(axis=0, ddof=1)
    index = np.round(254 * np.clip(between / sprites.SPREAD, 0, 1))
    assert np.abs(spread[:, 2 * 17 : 2 * 17 + 16] - index).max() <= 1


def test_colour_is_kept_and_large_images_are_compressed_and_fewer(tmp_path, monkeypatch):
    read = Results(write(tmp_path / "results", mu=(2.0, 20.0), images=8, colour=True))
    outputs = sprites.rows(read)
    whole = sprites.build(read, outputs)
    assert whole.lossless
    assert opened(whole.sheets[0]).shape == (17 * len(outputs) - 1, 33, 3)
    one = len(whole.sheets[0])
    monkeypatch.setattr(sprites, "BUDGET", 2.5 * one)
    small = sprites.build(read, outputs)
    assert not small.lossless
    assert 1 <= len(small.sheets) < 8
    assert sum(map(len, small.sheets)) <= 2.5 * one
    assert opened(small.sheets[0]).shape == opened(whole.sheets[0]).shape


def test_embedded_data_cannot_end_the_script(study):
    assert "</" not in explorer.text({"a": "</script><b>"})
    assert json.loads(explorer.text({"a": "</script>"})) == {"a": "</script>"}


@pytest.fixture
def private(tmp_path):
    """A study of someone's own folder, whose classes are names of folders."""
    results = write(tmp_path / "results", mu=MU[1:], images=6)
    config = yaml.safe_load((results / "config.yaml").read_text())
    config["data"] |= {"folder": "/home/someone/patients.zip", "under": "ward7", "name": "fashion_mnist"}
    (results / "config.yaml").write_text(yaml.safe_dump(config))
    for table in ("metrics", "baselines", "consistency", "bounds"):
        path = results / f"{table}.parquet"
        pd.read_parquet(path).assign(dataset="patients").to_parquet(path)
    targets = dict(np.load(results / "targets.npz"))
    targets["class_names"] = np.array([f"surname{k}" for k in range(10)])
    np.savez(results / "targets.npz", **targets)
    write_figures(tmp_path / "figures", figures.NAMES)
    return tmp_path


@pytest.mark.parametrize("redact", [False, True])
def test_a_page_of_private_images_names_nothing_and_is_the_owners(private, redact):
    out = private / "report.html"
    page.build(private / "results", private / "figures", out, redact)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    text = out.read_text(encoding="utf-8")
    for word in ("patients", "someone", "ward7", "surname", "fashion_mnist", "Fashion-MNIST"):
        assert word not in text
    grid = base64.b64encode((private / "figures/reconstructions.png").read_bytes()).decode()
    assert grid not in text  # the grid's labels are names of classes, that is of folders
    assert ("This page shows private images" in text) == (not redact)
    assert ("This page shows no image" in text) == redact
    assert "6 local images" in text
    shown = re.findall(r'<img [^>]*src="data:image', text)
    assert len(shown) == len(figures.NAMES) - 1 + (0 if redact else 4 * 6)


def test_a_public_page_is_readable_as_the_umask_says(study, tmp_path):
    write_figures(tmp_path, figures.NAMES)
    page.build(study.folder, tmp_path, tmp_path / "report.html")
    assert stat.S_IMODE((tmp_path / "report.html").stat().st_mode) & 0o044
