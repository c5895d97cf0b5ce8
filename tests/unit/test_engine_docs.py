"""docs/engine.md shows the numbers of the figures' CSV files, and says what was not run."""

import numpy as np
import pandas as pd
import pytest

from vpaudit.base.errors import VpauditError
from vpaudit.commands.docs import engine


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
    text = engine.page(figures)
    assert "| mse | 6 | 1 [0.994, 1.01] | 1 [0.994, 1.01] |" in text
    assert "mu = 5 | mu = 10" in text
    assert "\n\nn = 64.\n" in text
    assert text.count("Not run.") == len(engine.SECTIONS) - 2


def test_a_changed_number_is_noticed(figures, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    engine.write(figures)
    engine.write(figures, check=True)
    page = tmp_path / "docs" / "engine.md"
    page.write_text(page.read_text().replace("0.994", "0.894", 1))
    with pytest.raises(VpauditError, match="engine-docs"):
        engine.write(figures, check=True)


def test_the_page_in_the_repository_is_up_to_date(root, monkeypatch):
    monkeypatch.chdir(root)
    if not (root / "docs/engine.md").exists():
        pytest.skip("docs/engine.md was not written yet: no experiment was run")
    engine.write("figures/embedded-engine", check=True)


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
