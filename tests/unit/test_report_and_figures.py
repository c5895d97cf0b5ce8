"""Figures and page from a small invented study: files, numbers, offline, missing LPIPS."""

import json
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from vpaudit import config as configuration
from vpaudit import figures, report
from vpaudit.errors import VpauditError
from vpaudit.figures.study import number
from vpaudit.layout import Layout
from vpaudit.stages import tables as stage

MU, N = (2.0, 10.0, 50.0), 12
ATTACKS = (
    ("none", "raw", 1, 4.0), ("gaussian", "wiener", 1, 1.0), ("unconditional", "posterior_mean", 1, 0.8),
    ("true_class", "posterior_mean", 1, 0.7), ("wrong_class", "posterior_mean", 1, 1.2),
    ("unconditional", "ddim", 1, 1.0), ("unconditional", "ddpm", 3, 1.3),
)  # fmt: skip


def invent(folder, lpips=True):
    """A study's files, with errors that fall with mu as a real study's do."""
    rng = np.random.default_rng(0)
    overlay = {
        "study": "toy",
        "data": {"images": N},
        "mechanism": {"mu": list(MU)},
        "prior": {"path": str(folder / "prior")},
    }
    config = configuration.resolve(overlay)
    layout = Layout(config)
    layout.results = folder / "results"
    layout.figures = folder / "figures"
    layout.results.mkdir(parents=True)
    configuration.save(config, layout.config)
    (folder / "prior").mkdir()
    card = {
        "data": "toy",
        "parameters": 1000,
        "images_seen": 5000,
        "passes": 1.5,
        "steps": 5,
        "steps_planned": 10,
        "sha256": "ab" * 32,
    }
    (folder / "prior" / "card.json").write_text(json.dumps(card))
    images = rng.integers(0, 255, (N, 8, 8), dtype=np.uint8)
    ids, labels = np.arange(N) * 2, np.arange(N) % 10
    np.savez(layout.targets, images=images, ids=ids, labels=labels, class_names=np.array([f"c{i}" for i in range(10)]))
    metrics, baselines, agreement = [], [], []
    names = ["mse", "ssim", "ncc", "psnr"] + (["lpips_vgg_64"] if lpips else [])
    skill = rng.normal(size=N)
    for mu in MU:
        arrays = {}
        for prior, attack, draws, scale in ATTACKS:
            arrays[f"{prior}.{attack}"] = rng.uniform(-1, 1, (draws, N, 1, 8, 8)).astype(np.float32)
            for draw in range(draws):
                error = scale * 2 / mu**2 * np.exp(0.2 * skill + 0.05 * rng.normal(size=N))
                values = {
                    "mse": error,
                    "ssim": 1 / (1 + error),
                    "ncc": 1 / (1 + error),
                    "psnr": -10 * np.log10(error / 4),
                    "lpips_vgg_64": error / (1 + error),
                }
                for m in names:
                    base = {"dataset": "toy", "image": ids, "prior": prior, "attack": attack, "mu": mu, "metric": m}
                    metrics.append(
                        pd.DataFrame(
                            {**base, "knowledge": "lambda_sigma", "rounds": 1, "draw": draw, "value": values[m]}
                        )
                    )
                    if draw == 0:
                        other = {"kind": "reconstruction_vs_other", "value": np.full(N, 0.6)}
                        baselines.append(pd.DataFrame({**base, **other}))
                    if attack == "ddpm" and draw == 0:
                        pair = {"agreement": values[m] * 0.9, "achieved": values[m]}
                        agreement.append(pd.DataFrame({**base, **pair}))
        for name, content in (
            ("observations", {"y": arrays["none.raw"][0] * 0.1, "lam": np.full(N, 0.1)}),
            ("reconstructions", arrays),
        ):
            (layout.results / name).mkdir(exist_ok=True)
            np.savez(layout.results / name / f"mu={mu:g}.npz", **content)
    for m in names:
        rows = {"dataset": "toy", "image": ids, "prior": "", "attack": "", "mu": np.nan, "metric": m}
        baselines.append(pd.DataFrame({**rows, "kind": "test_vs_test", "value": 0.6 + 0.01 * rng.normal(size=N)}))
    for table, parts in (("metrics", metrics), ("baselines", baselines), ("consistency", agreement)):
        pd.concat(parts, ignore_index=True).to_parquet(layout.table(table))
    (layout.part("baselines", "unrelated")).parent.mkdir(parents=True)
    unrelated = pd.read_parquet(layout.table("baselines")).query("kind == 'test_vs_test'")
    unrelated.to_parquet(layout.part("baselines", "unrelated"))
    stage.bounds(config, layout)
    stage.summary(config, layout)
    return layout


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    return invent(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def drawn(layout):
    for name in figures.NAMES:
        figures.render(name, layout.results, layout.figures)
    report.build(layout.results, layout.figures, layout.report)
    return layout


def test_every_figure_is_written_in_three_forms(drawn):
    for name in figures.NAMES:
        assert drawn.figure(name, "png").read_bytes().startswith(b"\x89PNG")
        assert drawn.figure(name, "pdf").read_bytes().startswith(b"%PDF")
        assert len(pd.read_csv(drawn.figure(name, "csv"))) > 3


def test_pdf_text_is_text(drawn):
    """TrueType (42) fonts, not outlines or Type 3."""
    pdf = drawn.figure("metrics_vs_mu", "pdf").read_bytes()
    assert b"/TrueType" in pdf or b"/CIDFontType2" in pdf
    assert b"/Type3" not in pdf


def test_the_same_tables_give_the_same_bytes(drawn, tmp_path):
    figures.render("metrics_vs_mu", drawn.results, tmp_path)
    for kind in ("png", "pdf", "csv"):
        assert (tmp_path / f"metrics_vs_mu.{kind}").read_bytes() == drawn.figure("metrics_vs_mu", kind).read_bytes()


def test_csv_holds_what_the_table_says(drawn):
    csv = pd.read_csv(drawn.figure("metrics_vs_mu", "csv"))
    row = csv.query("curve == 'unconditional.ddim' and metric == 'mse' and mu == 10").iloc[0]
    table = pd.read_parquet(drawn.table("metrics"))
    want = table.query("prior == 'unconditional' and attack == 'ddim' and metric == 'mse' and mu == 10")["value"].mean()
    assert row["value"] == pytest.approx(want, rel=1e-4)
    assert row["low"] < row["value"] < row["high"]


def test_a_style_changes_the_picture_and_bad_ones_are_named(drawn, tmp_path):
    figures.render("prior_ladder", drawn.results, tmp_path, "slides")
    assert (tmp_path / "prior_ladder.png").read_bytes() != drawn.figure("prior_ladder", "png").read_bytes()
    with pytest.raises(VpauditError, match="slides"):
        figures.render("prior_ladder", drawn.results, tmp_path, "nice")
    (tmp_path / "s.yaml").write_text("widht: 3")
    with pytest.raises(VpauditError, match="widht"):
        figures.render("prior_ladder", drawn.results, tmp_path, str(tmp_path / "s.yaml"))


def test_the_page_stands_alone_and_holds_every_claim(drawn):
    page = drawn.report.read_text()
    assert not re.findall(r'(?:src|href)="(?!data:|#|https://arxiv\.org/abs/)', page)
    assert "<script" not in page
    assert page.count("data:image/png;base64,") == len(figures.NAMES)
    assert all(alt for alt in re.findall(r'alt="([^"]*)"', page))
    for claim in json.loads(drawn.summary.read_text())["claims"]:
        assert f'id="{claim["id"]}"' in page
    assert "half-trained" in page
    assert len(page) < 15e6


def test_missing_lpips_is_said(tmp_path):
    layout = invent(tmp_path, lpips=False)
    for name in figures.NAMES:
        figures.render(name, layout.results, layout.figures)
    report.build(layout.results, layout.figures, layout.report)
    page = layout.report.read_text()
    assert "Not measured in this run: LPIPS" in page
    assert "LPIPS could not be computed" in page


def test_verdicts_of_the_invented_study(layout):
    """Errors fall with mu and follow skill, so these must come out confirmed; the ladder was put in by hand."""
    claims = {c["id"]: c for c in json.loads(layout.summary.read_text())["claims"]}
    for name in ("beats_uninformed", "grows_with_mu_mse", "agreement_predicts_mse", "beats_wiener", "prior_true_class"):
        assert claims[name]["verdict"] == "confirmed", name
    assert claims["beats_wiener"]["value"] == pytest.approx(0.8, abs=0.05)


def test_numbers_are_written_for_people():
    assert [number(v) for v in (0.5124, 33.08, 91.8, 1461.7, 6)] == ["0.512", "33.1", "91.8", "1,460", "6.00"]


def test_plotting_never_loads_torch():
    code = "import sys, vpaudit.figures, vpaudit.report; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
