"""Generated pages: they show the recorded numbers, and one that is out of date is named."""

import numpy as np
import pandas as pd
import pytest
from jinja2 import UndefinedError

from vpaudit.base.errors import VpauditError
from vpaudit.commands.docs import claims, engine, pages
from vpaudit.commands.docs.pages import Page
from vpaudit.commands.main import main


@pytest.fixture
def figures(tmp_path):
    folder = tmp_path / "figures" / "toy"
    folder.mkdir(parents=True)
    rows = [
        ("few_step", 6, mu, metric, value, value - 0.01, value + 0.01, 64)
        for mu in (5, 10)
        for metric, value in (("mse", 1.004), ("ssim", 0.997))
    ]
    table = pd.DataFrame(rows, columns=["solver", "calls", "mu", "metric", "value", "low", "high", "n"])
    table.to_csv(folder / "calls.csv", index=False)
    return folder


def test_numbers_and_intervals_are_those_of_the_table(figures):
    text = engine.text_of(figures)
    assert "| mse | 6 | 1 [0.994, 1.01] | 1 [0.994, 1.01] |" in text
    assert "mu = 5 | mu = 10" in text
    assert "\n\nn = 64.\n" in text
    assert text.count("Not run.") == len(engine.SECTIONS) - 2


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A folder that passes for a working copy, with a README of which a passage is generated."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Snakefile").touch()
    (tmp_path / "README.md").write_text("above\n<!-- found:begin -->\nold\n<!-- found:end -->\nbelow\n")
    return tmp_path


WHOLE = Page("docs/whole.md", "text.j2", lambda: {"text": "of numbers\n"})
PASSAGE = Page("README.md", "text.j2", lambda: {"text": "new\n"}, between="found")


def test_only_pages_out_of_date_are_written(copy):
    assert pages.write(pages=[WHOLE, PASSAGE]) == ["docs/whole.md", "README.md"]
    assert (copy / "docs/whole.md").read_text() == "of numbers\n"
    assert (copy / "README.md").read_text() == "above\n<!-- found:begin -->\nnew\n<!-- found:end -->\nbelow\n"
    assert pages.write(pages=[WHOLE, PASSAGE]) == []


def test_check_names_what_is_out_of_date_and_writes_nothing(copy, capsys, monkeypatch):
    monkeypatch.setattr(pages, "PAGES", [WHOLE, PASSAGE])
    assert main(["docs"]) == 0
    assert main(["docs", "--check"]) == 0
    changed = (copy / "README.md").read_text().replace("new", "typed by hand")
    (copy / "README.md").write_text(changed)
    assert main(["docs", "--check"]) == 2
    error = capsys.readouterr().err
    assert "README.md" in error
    assert "whole.md" not in error
    assert (copy / "README.md").read_text() == changed


def test_missing_markers_and_a_foreign_folder_are_named(copy, tmp_path):
    (copy / "README.md").write_text("nothing here\n")
    with pytest.raises(VpauditError, match="lacks the markers"):
        pages.write(pages=[PASSAGE])
    (copy / "Snakefile").unlink()
    with pytest.raises(VpauditError, match="no Snakefile here"):
        pages.write(pages=[WHOLE])


def test_a_template_that_asks_for_a_missing_fact_fails(copy):
    with pytest.raises(UndefinedError, match="text"):
        pages.render(Page("docs/whole.md", "text.j2", dict))


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: page.path)
def test_pages_of_the_repository_are_up_to_date(page, root, monkeypatch):
    monkeypatch.chdir(root)
    pages.write(check=True, pages=[page])


def test_no_measured_attack_lies_below_a_floor(root):
    """Recorded numbers: mean error of every attack against van Trees' floor and the floor from small balls."""
    table = pd.read_csv(root / "figures/embedded-engine/floors.csv")
    table = table[(table["metric"] == "mse") & table["mu"].notna()]
    floors = table[table["quantity"].isin(("mse_floor", "distance_floor"))]
    attacks = table[table["quantity"] == "attack"]
    assert set(floors["prior"]) == {"van Trees, best smoothing", "Shannon", "prior"}
    assert set(attacks["prior"]) == {"posterior_mean", "ddim"}
    for mu, rows in attacks.groupby("mu"):
        here = floors.loc[np.isclose(floors["mu"], mu), "low"]
        assert len(here) >= 2, f"no floor at mu={mu:g}"
        assert rows["value"].min() > here.max(), f"mu={mu:g}"


def a_claim(id_, family, verdict):
    return {"id": id_, "family": family, "verdict": verdict}


CLAIMS = [a_claim("beats_wiener", "prior", "confirmed"), a_claim("below_rero_mse", "below_rero", "not confirmed"),
          a_claim("denoising_x", "denoising", "inconclusive"), {"id": "of_before", "verdict": "confirmed"}]  # fmt: skip


def test_claims_stand_under_one_heading_each_and_none_is_lost():
    groups = claims.grouped(CLAIMS)
    assert list(groups) == ["Bounds", "Prior", claims.OPEN]
    assert sorted(c["id"] for members in groups.values() for c in members) == sorted(c["id"] for c in CLAIMS)


def test_a_sentence_that_the_verdict_no_longer_bears_is_refused():
    assert claims.found(CLAIMS, "beats_wiener", "confirmed") is CLAIMS[0]
    with pytest.raises(VpauditError, match="below_rero_mse is not confirmed, not confirmed with a caveat"):
        claims.found(CLAIMS, "below_rero_mse", "confirmed with a caveat")
    with pytest.raises(VpauditError, match="end_of_success_ncc is absent"):
        claims.found(CLAIMS, "end_of_success_ncc", "confirmed")
