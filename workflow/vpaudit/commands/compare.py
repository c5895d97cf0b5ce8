"""`vpaudit compare A B`: two result folders, table by table with tolerances, and which claims moved."""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from vpaudit.base import checks, files
from vpaudit.base.errors import VpauditError
from vpaudit.study.layout import MEASURED

TABLES = (*MEASURED, "bounds")
VALUES = ("value", "low", "high", "agreement", "achieved", "separation")


def add_compare(command: argparse.ArgumentParser) -> None:
    command.add_argument("a", help="e.g. results/embedded")
    command.add_argument("b", help="another result folder")
    command.add_argument("--tolerance", type=float, default=1e-4, help="of values, >= 0 (default: %(default)g)")
    command.set_defaults(run=_run)


def _run(arguments) -> int:
    lines, same = compare(arguments.a, arguments.b, arguments.tolerance)
    print("\n".join(lines))
    if not same:
        print("the folders differ: the lines above say where", file=sys.stderr)
    return 0 if same else 3


def compare(a: Path, b: Path, tolerance: float) -> tuple[list[str], bool]:
    """Lines to print, and whether the folders agree: same rows, values within the tolerance, same verdicts.

    Args:
        tolerance: largest |x - y| / max(1, |x|, |y|) between two values of the same row, >= 0.
    """
    checks.non_negative(tolerance=tolerance)
    a, b = Path(a), Path(b)
    for folder in (a, b):
        if not (folder / "summary.json").exists():
            raise VpauditError(f"{folder} holds no summary.json", "name two folders such as results/embedded")
    lines, same = [], True
    for name in TABLES:
        line, equal = _table(name, a, b, tolerance)
        lines.append(line)
        same &= equal
    moved = _claims(files.read_json(a / "summary.json"), files.read_json(b / "summary.json"))
    lines += moved or ["claims: the same verdicts"]
    return lines, same and not moved


def _table(name: str, a: Path, b: Path, tolerance: float) -> tuple[str, bool]:
    paths = [folder / f"{name}.parquet" for folder in (a, b)]
    there = [path.exists() for path in paths]
    if not all(there):
        where = "neither folder" if not any(there) else f"{a if there[0] else b} alone"
        return f"{name}: in {where}", not any(there)
    left, right = (pd.read_parquet(path) for path in paths)
    values = [c for c in VALUES if c in left and c in right]
    keys = [c for c in left.columns if c in right.columns and c not in values]
    both = left.merge(right, on=keys, how="outer", suffixes=("_a", "_b"), indicator=True)
    alone = [int((both["_merge"] == side).sum()) for side in ("left_only", "right_only")]
    shared = both[both["_merge"] == "both"]
    worst = 0.0
    for column in values:
        x, y = (shared[f"{column}_{side}"].to_numpy(float) for side in "ab")
        equal = (x == y) | (np.isnan(x) & np.isnan(y))
        gap = np.where(equal, 0.0, np.abs(x - y) / np.maximum(1.0, np.maximum(np.abs(x), np.abs(y))))
        worst = max(worst, float(np.nan_to_num(gap, nan=np.inf).max(initial=0.0)))
    line = (
        f"{name}: {len(shared)} rows in both, {alone[0]} only in {a}, {alone[1]} only in {b}; largest gap {worst:.2g}"
    )
    return line, not any(alone) and worst <= tolerance


def _claims(left: dict, right: dict) -> list[str]:
    """One line a claim whose verdict differs, or that one side lacks."""
    verdicts = [{c["id"]: c for c in summary["claims"]} for summary in (left, right)]
    lines = []
    for key in dict.fromkeys([*verdicts[0], *verdicts[1]]):
        mine, theirs = (side.get(key) for side in verdicts)
        if mine is None or theirs is None:
            lines.append(f"claim {key}: only in {'the first' if theirs is None else 'the second'}")
        elif mine["verdict"] != theirs["verdict"]:
            lines.append(
                f"claim {key}: {mine['verdict']} → {theirs['verdict']} (value {mine['value']} → {theirs['value']})"
            )
    return lines
