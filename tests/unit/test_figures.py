"""Figures from an invented study: files, bytes, numbers, styles, what is missing, and no torch."""

import json
import re
import shutil
import subprocess
import sys

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from fake_results import MU, write
from PIL import Image

from vpaudit.base import stats
from vpaudit.base.errors import VpauditError
from vpaudit.base.labels import number, power
from vpaudit.commands.docs import engine
from vpaudit.experiments import catalog
from vpaudit.experiments.transition.figure import draw
from vpaudit.report import figures, latex
from vpaudit.report.figures import grid
from vpaudit.report.figures import style as styles
from vpaudit.report.figures.axes import _apart
from vpaudit.report.results import Results


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return write(tmp_path_factory.mktemp("results") / "invented")


@pytest.fixture(scope="module")
def elsewhere(results, tmp_path_factory):
    """(folder of all figures, how the process ended that drew them, and then the page): 1 if it had loaded torch."""
    out, pages = tmp_path_factory.mktemp("figures"), tmp_path_factory.mktemp("pages")
    code = (
        "import sys\nfrom pathlib import Path\nfrom vpaudit.report import figures, page\n"
        "results, out, pages = map(Path, sys.argv[1:])\n"
        "for name in figures.NAMES: figures.render(name, results, out)\n"
        "page.build(results, out, pages / 'report.html')\n"
        "sys.exit('torch' in sys.modules)"
    )
    return out, subprocess.run([sys.executable, "-c", code, results, out, pages], capture_output=True, text=True)


@pytest.fixture(scope="module")
def drawn(elsewhere):
    return elsewhere[0]


def csv(folder, name, **where):
    table = pd.read_csv(folder / f"{name}.csv")
    for key, value in where.items():
        table = table[np.isclose(table[key], value) if key == "mu" else table[key] == value]
    return table


@pytest.mark.parametrize("name", figures.NAMES)
def test_four_files_and_nothing_else(drawn, name):
    assert (drawn / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    pdf = (drawn / f"{name}.pdf").read_bytes()
    assert pdf.startswith(b"%PDF")
    assert b"/CIDFontType2" in pdf
    assert b"/Type3" not in pdf
    assert b"/CreationDate" not in pdf
    assert len(csv(drawn, name)) > 10
    assert "30 images of discs" in (drawn / f"{name}.txt").read_text()
    assert re.search(r"seed 7\.$", (drawn / f"{name}.txt").read_text())
    assert sorted(p.stem for p in drawn.iterdir()) == sorted(4 * list(figures.NAMES))


@pytest.mark.parametrize("name", figures.NAMES)
def test_for_one_column_of_a_page(results, tmp_path, name):
    """As wide as a column, no higher than a page, text as text; a grid with as many mu as have room."""
    figures.render(name, results, tmp_path, "single")
    with Image.open(tmp_path / f"{name}.png") as image:
        width, height = (side / 300 for side in image.size)
    assert 2.5 < width < 3.5
    assert height <= 9.01
    pdf = (tmp_path / f"{name}.pdf").read_bytes()
    assert b"/CIDFontType2" in pdf
    assert b"/Type3" not in pdf
    if name == "reconstructions":
        shown = csv(tmp_path, name)["mu"].unique()
        assert {MU[0], MU[-1]} <= set(shown)
        assert len(shown) < len(MU)


def test_images_without_classes_are_shown_too():
    assert grid.spread(np.full(5, -1)) == [0, 1, 2]
    assert grid.fitting([1, 2, 3, 4, 5, 6, 7], 3) == [1, 4, 7]


def test_latex_tables_hold_the_numbers(results):
    """Every row has a cell a mu; values are those of the study."""
    study = Results(results)
    text = latex.metrics(study)
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert all(line.count(" & ") == len(MU) for line in body)
    assert text.count(r"\midrule") == 5
    assert text.startswith(r"\begin{tabular}{lrrrrrrrr}")
    assert r"\toprule" in text
    assert r"\bottomrule" in text
    curve = study.curve("unconditional", "ddim", "ssim").set_index("mu").loc[10.0]
    rows = [line.split(" & ") for line in body]
    at = next(i for i, row in enumerate(rows) if "SSIM" in row[0])
    line = next(i for i, row in enumerate(rows) if i > at and row[0] == "DDIM")
    column = 1 + MU.index(10.0)
    assert rows[line][column] == number(curve["value"])
    assert rows[line + 1][column] == rf"{{\tiny [{number(curve['low'])}, {number(curve['high'])}]}}"


def test_latex_of_claims_is_escaped(results):
    text = latex.claims(json.loads((results / "summary.json").read_text()))
    assert r"Success grows with $\mu$ (SSIM) \& more" in text
    assert "$-$0.2 [$-$0.3, $-$0.1] & 30 & not confirmed" in text
    assert text.count(r"\\") == 7
    assert latex.escape("50 % of a_b µ") == r"50 \% of a\_b $\mu$"


@pytest.mark.parametrize("name", figures.NAMES)
def test_same_files_same_bytes(results, drawn, tmp_path, name):
    figures.render(name, results, tmp_path)
    for kind in figures.KINDS:
        assert (tmp_path / f"{name}.{kind}").read_bytes() == (drawn / f"{name}.{kind}").read_bytes()


def test_curves_hold_means_of_draws_then_images(results, drawn):
    table = pd.read_parquet(results / "metrics.parquet")
    rows = table.query("prior == 'unconditional' and attack == 'ddpm' and metric == 'ssim' and mu == 5")
    images = rows.groupby("image")["value"].mean()
    got = csv(drawn, "metrics_vs_mu", look="ddpm", metric="ssim", mu=5).iloc[0]
    assert got["value"] == pytest.approx(images.mean(), rel=1e-4)
    assert got["n"] == len(images)
    spread = 1.96 * images.std() / np.sqrt(len(images))
    assert got["high"] - got["low"] == pytest.approx(2 * spread, rel=0.25)


def test_curves_hold_bounds_and_both_baselines(results, drawn):
    bounds = pd.read_parquet(results / "bounds.parquet")
    for name in ("uninformed", "floor"):
        for mu in MU:
            want = bounds.query("bound == @name and metric == 'mse' and mu == @mu")["value"].item()
            got = csv(drawn, "metrics_vs_mu", look=name, metric="mse", mu=mu)["value"].item()
            assert got == pytest.approx(want, rel=1e-4)
    base = pd.read_parquet(results / "baselines.parquet").query("metric == 'mse'")
    want = base.query("kind == 'test_vs_test'")["value"].mean()
    assert csv(drawn, "metrics_vs_mu", look="unrelated", metric="mse", mu=5)["value"].item() == (
        pytest.approx(want, rel=1e-4)
    )
    others = csv(drawn, "metrics_vs_mu", look="others", metric="mse")
    assert len(others) == len(MU)
    assert (others["low"] < others["value"]).all()


def test_axes_carry_mu_and_epsilon(results):
    look = styles.get("default")
    with plt.rc_context(styles.rc(look)):
        figure, _ = figures.drawing("metrics_vs_mu")(results, look)
        figure.canvas.draw()
        axes = figure.axes[0]
        assert axes.get_yscale() == "log"
        assert [t.get_text() for t in axes.get_xticklabels()] == [f"{mu:g}" for mu in MU]
        top = axes.child_axes[0]
        assert top.get_xlabel() == "ε at δ = 10⁻⁵"
        labels = [t.get_text() for t in top.get_xticklabels()]
        assert (labels[0], labels[-1]) == ("4.38", "5,430")
        plt.close(figure)


@pytest.mark.parametrize("name", figures.NAMES)
@pytest.mark.parametrize("look", ["default", "print", "slides"])
def test_no_text_overlaps_or_leaves_the_page(results, name, look):
    look = styles.get(look)
    with plt.rc_context(styles.rc(look)):
        figure, _ = figures.drawing(name)(results, look)
        figure.canvas.draw()
        page = figure.bbox
        assert figure.get_figwidth() <= look["width"]
        assert figure.get_figheight() <= look["height"]
        texts = [t for t in figure.findobj(matplotlib.text.Text) if t.get_text().strip() and t.get_visible()]
        boxes = [(t.get_text(), t.get_window_extent()) for t in texts if t.get_window_extent().width > 0]
        shown = [(text, box) for text, box in boxes if _drawn(figure, text, box)]
        for text, box in shown:
            assert box.x0 >= page.x0 - 1, text
            assert box.x1 <= page.x1 + 1, text
            assert box.y0 >= page.y0 - 1, text
            assert box.y1 <= page.y1 + 1, text
        for i, (text, box) in enumerate(shown):
            for other, box2 in shown[i + 1 :]:
                across = min(box.x1, box2.x1) - max(box.x0, box2.x0)
                down = min(box.y1, box2.y1) - max(box.y0, box2.y0)
                assert across <= 1 or down <= 1, (text, other)
        plt.close(figure)


def _drawn(figure, text, box) -> bool:
    """Not a tick label beyond its axis, which matplotlib keeps but does not draw."""
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in axis.get_major_ticks() + axis.get_minor_ticks():
                if tick.label1.get_text() == text and np.allclose(tick.label1.get_window_extent().bounds, box.bounds):
                    return low <= tick.get_loc() <= high and tick.label1.get_visible()
    return True


def test_grid_shows_classes_and_never_stretches(results):
    look = styles.get("default")
    with plt.rc_context(styles.rc(look)):
        figure, table = figures.drawing("reconstructions")(results, look)
    shown = figure.axes[0].images
    assert len(shown) == 3 * (1 + len(grid.ROWS) * len(MU))
    assert all(image.get_clim() == (0, 1) for image in shown)
    assert table["target"].nunique() == 3
    with np.load(results / "targets.npz") as file:
        place = grid.spread(file["labels"])[0]
        np.testing.assert_allclose(shown[0].get_array(), file["images"][place] / 255, atol=1e-6)
    texts = [t.get_text() for t in figure.axes[0].texts]
    assert {"100", "5,430", "DDPM sample 2", "target:\nclass 9"} <= set(texts)
    plt.close(figure)


def test_colour_images_few_classes_one_mu(tmp_path):
    results = write(tmp_path / "colour", mu=(5.0,), images=6, colour=True)
    for name in figures.NAMES:
        figures.render(name, results, tmp_path)
    pixels = np.asarray(Image.open(tmp_path / "reconstructions.png").convert("RGB")).astype(int)
    assert np.ptp(pixels, axis=2).max() > 50


def test_grid_of_images_without_classes(results, tmp_path):
    """As faces have none: no label names a class, and no name is there to be asked for."""
    folder = shutil.copytree(results, tmp_path / "faces")
    with np.load(folder / "targets.npz") as file:
        content = dict(file)
    content |= {"labels": np.full(len(content["labels"]), -1), "class_names": np.array([], dtype=str)}
    np.savez(folder / "targets.npz", **content)
    figure, table = figures.drawing("reconstructions")(folder, styles.get("default"))
    assert set(table["target"]) == {""}
    assert "target" in {t.get_text() for t in figure.axes[0].texts}
    plt.close(figure)


def test_grid_keeps_to_the_classes_that_occur():
    assert grid.spread(np.array([4, 4, 2])) == [2, 0]


def test_consistency_correlates_within_mu(results, drawn):
    table = pd.read_parquet(results / "consistency.parquet").query("metric == 'mse' and mu == 10")
    want = table["agreement"].corr(table["achieved"], method="spearman")
    got = csv(drawn, "consistency", kind="rank correlation", metric="mse", mu=10).iloc[0]
    assert got["value"] == pytest.approx(want, abs=5e-3)  # near ties share their ranks
    assert got["low"] < got["value"] < got["high"]
    assert len(csv(drawn, "consistency", kind="image", metric="mse", mu=10)) == got["n"]


def test_ladder_compares_pairwise(results, drawn):
    """The ratio's interval is that of the comparison on the same images, narrower than that of the mean."""
    got = csv(drawn, "prior_ladder", prior="true_class", metric="mse", mu=10).iloc[0]
    study = Results(results)
    ours, base = (study.grid(p, "posterior_mean", "mse")[10.0] for p in ("true_class", "unconditional"))
    assert got["value"] == pytest.approx(ours.mean() / base.mean(), rel=1e-4)
    alone = stats.bootstrap(ours.to_numpy())
    assert (got["high"] - got["low"]) / got["value"] < 0.6 * (alone[2] - alone[1]) / alone[0]
    assert got["metric_value"] == pytest.approx(ours.mean(), rel=1e-4)
    self = csv(drawn, "prior_ladder", prior="unconditional")
    assert np.allclose(self[["value", "low", "high"]], 1)
    ssim = csv(drawn, "prior_ladder", prior="true_class", metric="ssim", mu=10).iloc[0]
    assert ssim["value"] < 1  # of 1 - SSIM, so below 1 is closer, as for the others


def test_ladder_has_a_row_for_ddim_if_it_was_run(tmp_path):
    results = write(tmp_path / "ladder", ladder_ddim=True, images=8)
    figures.render("prior_ladder", results, tmp_path)
    assert set(csv(tmp_path, "prior_ladder")["reference"]) == {"unconditional.posterior_mean", "unconditional.ddim"}


def test_missing_lpips_is_left_out_and_named(tmp_path):
    results = write(tmp_path / "no-lpips", lpips=False, images=8)
    for name in figures.NAMES:
        figures.render(name, results, tmp_path)
        assert "lpips_vgg_64" not in set(csv(tmp_path, name)["metric"])
    look = styles.get("default")
    with plt.rc_context(styles.rc(look)):
        figure, _ = figures.drawing("metrics_vs_mu")(results, look)
    assert "not computed in this run" in "".join(t.get_text() for t in figure.axes[3].texts)
    plt.close(figure)


def test_styles_by_name_file_and_dict(results, drawn, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("width: 3.4\ncolours: {ddim: '#000000'}\n")
    seen = {(drawn / "prior_ladder.png").read_bytes()}
    for style in ("slides", str(file), {"font_size": 9}):
        figures.render("prior_ladder", results, tmp_path, style=style)
        seen.add((tmp_path / "prior_ladder.png").read_bytes())
    assert len(seen) == 4
    assert (tmp_path / "prior_ladder.csv").read_bytes() == (drawn / "prior_ladder.csv").read_bytes()


@pytest.mark.parametrize(
    ("style", "word"),
    [("nice", "slides"), ({"widht": 3}, "widht"), ({"colours": {"dimm": "red"}}, "dimm"), ("bad.yaml", "bad.yaml")],
)
def test_a_bad_style_is_named_and_leaves_no_file(results, tmp_path, monkeypatch, style, word):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(VpauditError, match=word):
        figures.render("prior_ladder", results, tmp_path / "out", style=style)
    assert not (tmp_path / "out").exists()


def test_unknown_figure_and_missing_table_are_named(tmp_path):
    with pytest.raises(VpauditError, match="prior_ladder"):
        figures.render("pie", tmp_path, tmp_path)
    results = write(tmp_path / "r", images=4, mu=(1.0, 10.0))
    (results / "bounds.parquet").unlink()
    with pytest.raises(VpauditError, match=r"bounds\.parquet does not exist"):
        figures.render("metrics_vs_mu", results, tmp_path / "out")


def test_one_colour_an_attack_and_its_prior():
    colours = styles.COLOURS
    assert colours["gaussian"] == colours["wiener"]
    assert colours["none"] == colours["raw"]
    assert colours["unconditional"] == colours["posterior_mean"]
    assert not {colours["true_class"], colours["wrong_class"]} & {
        colours[k] for k in ("ddim", "ddpm", "given_norm", "raw")
    }


def test_numbers_are_written_for_people():
    assert [number(v) for v in (9.997, 0.5124, 33.08, 1461.7, 0, -0.25)] == [
        "10.0", "0.512", "33.1", "1,460", "0", "-0.250",
    ]  # fmt: skip
    assert [power(v) for v in (1e-5, 2e-5, 1e-6)] == ["10⁻⁵", "2e-05", "10⁻⁶"]


def test_labels_keep_apart_and_name_both_ends():
    assert _apart(list(MU), 0.225) == [1, 3, 10, 100]
    assert _apart([5.0], 0.2) == [5]
    assert _apart([1.0, 1.1], 0.2) == [1, 1.1]


def test_torch_is_never_loaded_by_drawing(elsewhere):
    assert elsewhere[1].returncode == 0, elsewhere[1].stderr


def test_transition_is_predicted_where_other_images_behave_alike(tmp_path):
    """A table that copies the study's own values predicts what is measured, in every metric and at every margin."""
    folder = write(tmp_path / "results")
    study, keys = Results(folder), ["image", "other", "mu", "metric", "value"]
    own, pairs = (t.query("prior == 'unconditional' and attack == 'ddim'") for t in (study.metrics, study.baselines))
    table = pd.concat([own.assign(other=own["image"])[keys], pairs[keys]])
    (folder / "experiments").mkdir()
    pd.concat([table.assign(source=source) for source in ("reference", "prior")]).to_parquet(
        folder / "experiments" / "transition.parquet", index=False
    )
    figures.write("transition", draw, "", folder, tmp_path / "out")
    drawn = pd.read_csv(tmp_path / "out" / "transition.csv").query("attack == 'unconditional, ddim'")
    found = drawn.pivot_table(
        index=["quantity", "metric", "margin", "mu"], columns="source", values=["value", "upper"], dropna=False
    ).dropna(how="all")
    assert len(drawn.query("quantity == 'share'")) == 3 * 3 * len(study.mu)
    assert len(drawn.query("quantity == 'end'")) == 3 * 3 * 3
    for column in ("value", "upper"):
        assert np.allclose(found[column]["prior"], found[column]["targets"], equal_nan=True)
    card = catalog.card("transition")
    assert "up to µ = –; training images predict –" in engine.answer(card, drawn)
