"""Generated pages: they show the recorded numbers, and one that is out of date is named."""

import pandas as pd
import pytest
from jinja2 import UndefinedError

from vpaudit.base.errors import VpauditError
from vpaudit.commands.docs import claims, engine, pages
from vpaudit.commands.docs.pages import Page
from vpaudit.commands.main import main
from vpaudit.experiments import catalog


def test_an_answer_shows_the_numbers_of_the_table():
    rows = [(5, "mse", 1.054), (5, "ssim", 0.997), (10, "mse", 1.104), (10, "ssim", 0.998)]
    table = pd.DataFrame(rows, columns=["mu", "metric", "value"])
    table = table.assign(low=table["value"] - 0.01, high=table["value"] + 0.01, n=64)
    text = """{% set worst = most("metric == 'mse'") %}
        {{ worst }} at µ = {{ worst.mu }}; {{ least("mu == 5") }}; n = {{ n() }}"""
    card = catalog.card("calls").model_copy(update={"answer": text})
    assert engine.answer(card, table) == "1.1 [1.09, 1.11] at µ = 10; 0.997 [0.987, 1.01]; n = 64"


def test_an_experiment_that_was_not_run_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "FIGURES", tmp_path)
    page = pages.render(Page("docs/engine.md", "engine.md.j2", engine.page))
    assert page.count("Not run: `snakemake") == sum(bool(card.question) for card in catalog.cards().values())


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
    """Recorded numbers: attacks on the targets against the theorem and van Trees, on the prior's images against small
    balls. Shannon's estimate from above is no floor."""
    table = pd.read_csv(root / "figures/embedded-engine/floors.csv")
    floors = table[table["quantity"].isin(("mse_floor", "distance_floor"))]
    assert set(floors["prior"]) >= {"floor", "van Trees", "network within 20% of the mmse", "prior"}
    assert "Shannon" not in set(table["prior"])
    for (_, mu), rows in table.groupby(["panel", "mu"]):
        attacks, here = rows[rows["quantity"] == "attack"], rows[rows["quantity"].isin(set(floors["quantity"]))]
        assert attacks.empty or attacks["value"].min() > here["low"].fillna(here["value"]).max(), f"mu={mu:g}"


def a_claim(id_, family, verdict):
    return {"id": id_, "family": family, "verdict": verdict}


CLAIMS = [a_claim("beats_wiener", "prior", "confirmed"), a_claim("within_theorem", "within_theorem", "confirmed"),
          a_claim("denoising_x", "denoising", "inconclusive"), {"id": "of_before", "verdict": "confirmed"}]  # fmt: skip


def test_claims_stand_under_one_heading_each_and_none_is_lost():
    groups = claims.grouped(CLAIMS)
    assert list(groups) == ["Bounds", "Prior", claims.OPEN]
    assert sorted(c["id"] for members in groups.values() for c in members) == sorted(c["id"] for c in CLAIMS)


def test_a_sentence_that_the_verdict_no_longer_bears_is_refused():
    assert claims.found(CLAIMS, "beats_wiener", "confirmed") is CLAIMS[0]
    with pytest.raises(VpauditError, match="denoising_x is inconclusive, not confirmed with a caveat"):
        claims.found(CLAIMS, "denoising_x", "confirmed with a caveat")
    with pytest.raises(VpauditError, match="end_of_success_ncc is absent"):
        claims.found(CLAIMS, "end_of_success_ncc", "confirmed")


@pytest.mark.parametrize("domain", ["faces", "xrays", "photographs"])
def test_example_audits_of_images_that_are_not_ours_show_none(root, domain):
    page = (root / f"docs/audit/{domain}/report.html").read_text(encoding="utf-8")
    assert "This page shows no image" in page
    assert page.count("data:image") == 2  # curves: success over mu, and the ladder of priors
