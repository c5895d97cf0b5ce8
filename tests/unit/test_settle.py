"""After a run git's outputs are as they were, where nothing but round-off changed; all else is left and named."""

import json
import os
import subprocess

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from vpaudit.base import stats
from vpaudit.commands.settle import RELATIVE, settle
from vpaudit.study import config
from vpaudit.study.layout import Layout

SUMMARY = {"claims": [{"id": "beats", "value": 0.144361, "n": 128, "measured": "largest at µ = 100: 0.144"}]}
FILES = {
    "results/embedded/summary.json": json.dumps(SUMMARY),
    "figures/embedded/curve.csv": "mu,value\n0.2,1.6763\n5,0.000001\n",
    "figures/embedded/claims.tex": "beats & 0.144 [0.135, 0.156] & 128 \\\\",
    "figures/embedded/curve.png": "pixels",
    "figures/embedded/other.txt": "a caption",
    "figures/cifar10/curve.csv": "mu,value\n1,2.0\n",
    "README.md": "0.5",
}


def git(*command):
    subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", *command], check=True, capture_output=True)


def write(path, content):
    path = os.path.join(os.getcwd(), path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(content)


def status() -> list[str]:
    found = subprocess.run(["git", "status", "--porcelain"], check=True, capture_output=True, text=True).stdout
    return [line[3:] for line in found.splitlines()]


@pytest.fixture
def layout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path, content in FILES.items():
        write(path, content)
    (tmp_path / "results/embedded/experiments").mkdir()
    pd.DataFrame({"mu": [1.0], "value": [0.5]}).to_parquet("results/embedded/experiments/toy.parquet")
    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "record")
    return Layout(config.load())


def test_round_off_is_put_back_and_keeps_its_time(layout, tmp_path):
    write("results/embedded/summary.json", FILES["results/embedded/summary.json"].replace("0.144361", "0.144362"))
    write("figures/embedded/curve.csv", "mu,value\n0.2,1.67633\n5,0.0000018\n")
    write("figures/embedded/claims.tex", "beats & 0.145 [0.135, 0.156] & 128 \\\\")  # a last digit rounded up
    write("figures/embedded/curve.png", "other pixels")
    pd.DataFrame({"mu": [1.0], "value": [0.50001]}).to_parquet("results/embedded/experiments/toy.parquet")
    before = {path: (tmp_path / path).stat().st_mtime_ns for path in FILES}
    assert settle(layout, set()) == ["5 files agree with the record to 0.0001 and are kept as recorded"]
    assert status() == []
    assert before == {path: (tmp_path / path).stat().st_mtime_ns for path in FILES}
    assert settle(layout, set()) == []


@pytest.mark.parametrize(
    ("path", "content", "by"),
    [
        ("figures/embedded/curve.csv", "mu,value\n0.2,1.6768\n5,0.000001\n", "by 0.0003 at most"),
        ("figures/embedded/curve.csv", "mu,value\n0.2,1.6763\n", "in words or rows"),
        ("results/embedded/summary.json", json.dumps(SUMMARY).replace("128", "129"), "by 0.0078 at most"),
        ("results/embedded/summary.json", json.dumps(SUMMARY).replace("beats", "loses"), "in words or rows"),
        ("results/embedded/summary.json", json.dumps(SUMMARY).replace("= 100", "= 50"), "by 0.5 at most"),
        ("figures/embedded/claims.tex", "beats & 0.146 [0.135, 0.156] & 128 \\\\", "by 0.014 at most"),
        ("figures/embedded/other.txt", "another caption", "in words or rows"),
    ],
)
def test_what_differs_is_left_and_named_and_so_are_pictures(layout, path, content, by):
    write(path, content)
    write("figures/embedded/curve.png", "other pixels")
    assert settle(layout, set()) == [f"{path} differs from the record {by}"]
    assert sorted(status()) == sorted([path, "figures/embedded/curve.png"])


def test_a_rounded_number_counts_only_where_the_data_agree(layout):
    write("figures/embedded/claims.tex", "beats & 0.145 [0.135, 0.156] & 128 \\\\")
    write("figures/embedded/curve.csv", "mu,value\n0.2,2\n5,0.000001\n")
    assert settle(layout, set()) == ["figures/embedded/curve.csv differs from the record by 0.16 at most"]
    assert "figures/embedded/claims.tex" in status()


def test_nothing_else_is_touched(layout):
    """Neither what had been changed before, nor other studies, other files, files that are gone, or new ones."""
    for path in ("figures/embedded/curve.csv", "figures/cifar10/curve.csv", "README.md"):
        write(path, FILES[path].replace("0.2", "0.200001").replace("2.0", "2.00001").replace("0.5", "0.500001"))
    os.remove("figures/embedded/other.txt")
    write("figures/embedded/new.csv", "1")
    changed = sorted(status())
    assert settle(layout, {"figures/embedded/curve.csv"}) == []
    assert sorted(status()) == changed


def test_without_git_nothing_is_done(layout, tmp_path):
    (tmp_path / ".git").rename(tmp_path / ".nogit")
    write("figures/embedded/curve.csv", "mu,value\n0.2,1.67633\n5,0.000001\n")
    assert settle(layout, set()) == []


def test_round_off_moves_a_rank_correlation_by_less_than_counts_as_a_difference():
    """Ten times the round-off between processors, in 128 images; Spearman's own rho fails this."""
    rng = np.random.default_rng(0)
    moved, jumped = [], []
    for _ in range(40):
        a = np.exp(0.3 * rng.standard_normal(128))
        b = a * np.exp(0.3 * rng.standard_normal(128))
        c, d = (v * (1 + rng.uniform(-1e-5, 1e-5, 128)) for v in (a, b))
        found = [stats.rank_correlation(*pair, 0, 300) for pair in ((a, b), (c, d))]
        moved.append(np.abs(np.subtract(*found)).max())
        jumped.append(abs(spearmanr(a, b).statistic - spearmanr(c, d).statistic))
    assert max(moved) < RELATIVE < max(jumped)
