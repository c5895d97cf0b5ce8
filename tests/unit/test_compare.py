"""Two result folders: equal, within tolerance, with other rows, with other verdicts."""

import json
import shutil

import pandas as pd
import pytest
from fake_results import write

from vpaudit.base.errors import VpauditError
from vpaudit.commands import compare
from vpaudit.commands.main import main


@pytest.fixture
def folders(tmp_path):
    first = write(tmp_path / "a")
    (first / "summary.json").write_text(json.dumps({"claims": [{"id": "c", "verdict": "confirmed", "value": 1.0}]}))
    return first, shutil.copytree(first, tmp_path / "b")


def test_a_copy_is_the_same(folders, capsys):
    lines, same = compare.compare(*folders, 0.0)
    assert same
    assert lines[-1] == "claims: the same verdicts"
    assert main(["compare", *map(str, folders)]) == 0


def test_values_within_the_tolerance_and_beyond(folders):
    table = pd.read_parquet(folders[1] / "metrics.parquet")
    table.loc[3, "value"] += 5e-4
    table.to_parquet(folders[1] / "metrics.parquet")
    assert compare.compare(*folders, 1e-3)[1]
    lines, same = compare.compare(*folders, 1e-4)
    assert not same
    assert "largest gap 0.000" in lines[0]
    assert main(["compare", *map(str, folders)]) == 3


def test_missing_rows_tables_and_moved_claims_are_named(folders):
    table = pd.read_parquet(folders[1] / "metrics.parquet")
    table.iloc[:-7].to_parquet(folders[1] / "metrics.parquet")
    (folders[1] / "bounds.parquet").unlink()
    (folders[1] / "summary.json").write_text(
        json.dumps({"claims": [{"id": "c", "verdict": "inconclusive", "value": 0.5}]})
    )
    lines, same = compare.compare(*folders, 1.0)
    assert not same
    assert "7 only in" in lines[0]
    assert any("bounds: in" in line and "alone" in line for line in lines)
    assert "claim c: confirmed → inconclusive" in lines[-1]


def test_a_folder_without_results_is_refused(folders, tmp_path):
    with pytest.raises(VpauditError, match=r"no summary\.json"):
        compare.compare(folders[0], tmp_path / "nothing", 0.0)


@pytest.mark.parametrize("tolerance", [float("nan"), -1.0, float("inf")])
def test_a_tolerance_that_is_no_number_is_refused(tmp_path, tolerance):
    with pytest.raises(VpauditError, match="tolerance="):
        compare.compare(tmp_path, tmp_path, tolerance)
