"""After a run, outputs that git holds and that came out alike but for round-off are put back as git holds them.

Processors sum in different orders, so the same study on another machine has other last digits everywhere. Numbers agree
if they are within 1e-4 of the larger one, or within 1e-6. Data (JSON, CSV, Parquet) are compared number by number;
so are sentences and LaTeX tables, in which a rounded number may also differ by one in its last digit if all data agree;
figures cannot be compared, and are put back if everything else agrees. A file keeps the time at which the run wrote
it, so that Snakemake finds nothing to do. `workflow/run.sh` calls this.
"""

import argparse
import io
import json
import os
import re
import subprocess
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

from vpaudit.base.files import atomic
from vpaudit.study import config as configuration
from vpaudit.study.layout import Layout

RELATIVE, ABSOLUTE = 1e-4, 1e-6
DATA, WORDS, PICTURES = (".json", ".csv", ".parquet"), (".txt", ".tex"), (".png", ".pdf")
NUMBER = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)")


def add_settle(command: argparse.ArgumentParser) -> None:
    command.add_argument("--config", required=True, help="resolved configuration, results/<study>/config.yaml")
    command.add_argument("--before", required=True, type=Path, help="files changed before the run: git diff -z")
    command.set_defaults(run=_run)


def _run(arguments) -> None:
    if arguments.before.exists():
        before = arguments.before.read_text(encoding="utf-8").split("\0")
        for line in settle(Layout(configuration.load(arguments.config)), set(before)):
            print(line)


def settle(layout: Layout, before: set[str]) -> list[str]:
    """Put back what agrees; say how many files, and which differ by how much.

    Args:
        before: files that had been changed when the run began; they are left alone.
    """
    places = [layout.results, layout.figures, layout.engine_figures]
    listed = (_git("diff", "--name-only", "-z", "--relative", "HEAD", "--", *map(str, places)) or b"").decode()
    changed = [Path(name) for name in listed.split("\0") if name and name not in before and Path(name).is_file()]
    recorded = {path: _git("cat-file", "--filters", f"HEAD:./{path}") for path in changed}
    gaps = {path: gap(path, recorded[path]) for path in changed if path.suffix in DATA + WORDS}
    apart = {path: value for path, value in gaps.items() if value > RELATIVE}
    data_agree = not any(path.suffix in DATA for path in apart)
    agree = [
        path
        for path in changed
        if (path.suffix in DATA and path not in apart)
        or (path.suffix in WORDS and path not in apart and data_agree)
        or (path.suffix in PICTURES and not apart)
    ]
    for path in agree:
        _put_back(path, recorded[path])
    lines = [f"{len(agree)} files agree with the record to {RELATIVE:g} and are kept as recorded"] if agree else []
    return lines + [f"{path} differs from the record {_by(value)}" for path, value in apart.items()]


def gap(path: Path, recorded: bytes) -> float:
    """The largest difference of two numbers over the larger, at least 0.01; infinite where words or rows differ."""
    new = path.read_bytes()
    if path.suffix == ".json":
        pair = [list(_leaves(json.loads(text))) for text in (recorded, new)]
        return max(map(_of_leaves, *pair), default=0.0) if len(pair[0]) == len(pair[1]) else float("inf")
    if path.suffix == ".parquet":
        import pandas as pd

        recorded, new = (pd.read_parquet(io.BytesIO(table)).to_csv().encode() for table in (recorded, new))
    return _of_texts(recorded.decode(), new.decode(), rounded=path.suffix in WORDS)


def _leaves(value) -> Iterator:
    """Keys and values of a JSON document, in their order."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)
    else:
        yield value


def _of_leaves(old, new) -> float:
    if isinstance(old, str) and isinstance(new, str):
        return _of_texts(old, new, rounded=True)
    if type(old) in (int, float) and type(new) in (int, float):
        return _of_numbers(old, new)
    return 0.0 if old == new else float("inf")


def _of_texts(old: str, new: str, rounded: bool) -> float:
    """rounded: numbers one apart in the last digit printed are the same number, rounded up and down."""
    old, new = NUMBER.split(old), NUMBER.split(new)
    if old[::2] != new[::2]:
        return float("inf")
    pairs = [pair for pair in zip(old[1::2], new[1::2], strict=True) if not (rounded and _round_alike(*pair))]
    return max((_of_numbers(float(a), float(b)) for a, b in pairs), default=0.0)


def _round_alike(old: str, new: str) -> bool:
    unit = max(Decimal(1).scaleb(Decimal(number).as_tuple().exponent) for number in (old, new))
    return unit < 1 and abs(Decimal(old) - Decimal(new)) <= unit


def _of_numbers(old: float, new: float) -> float:
    return abs(old - new) / max(abs(old), abs(new), ABSOLUTE / RELATIVE)


def _by(value: float) -> str:
    return "in words or rows" if value == float("inf") else f"by {value:.2g} at most"


def _put_back(path: Path, recorded: bytes) -> None:
    about = path.stat()
    with atomic(path) as temporary:
        temporary.write_bytes(recorded)
        os.utime(temporary, ns=(about.st_atime_ns, about.st_mtime_ns))


def _git(*command: str) -> bytes | None:
    """None without git, or outside a repository."""
    try:
        return subprocess.run(["git", *command], capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
