"""What the library weighs at two commits: its lines, and the time that a command and a rule's job take to start.

    python benchmarks/house.py --before bcf0d23 --out results/embedded/benchmarks/house.csv

Times are processor time of the whole process, which other work on the machine moves less than the wall clock: median
and range of n runs, the two commits in turn. A job is `collect`, from its start to the first file it misses.
"""

import argparse
import io
import os
import resource
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from vpaudit.base import files

SCIENCE = ("base", "privacy", "sampling", "attack", "measure", "priors")
NOT_SCIENCE = ("priors/train.py", "priors/fetch.py")
RUNS = 9


def checkout(commit: str, folder: Path) -> Path:
    archive = subprocess.run(["git", "archive", commit, "workflow", "config"], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    return folder


def lines(folder: Path) -> dict[str, int]:
    package = folder / "workflow/vpaudit"
    count = {p.relative_to(package).as_posix(): p.read_text("utf-8").count("\n") for p in package.rglob("*.py")}
    science = [n for p, n in count.items() if p.split("/")[0] in SCIENCE and p not in NOT_SCIENCE]
    found = {"Python files": len(count), "Python lines": sum(count.values())}
    return found | ({"of them science": sum(science)} if (package / "base").exists() else {})  # else flat


def vpaudit(folder: Path, *arguments: str) -> tuple[float, subprocess.CompletedProcess]:
    """Processor seconds of the command in a checkout, and what it said."""
    environment = os.environ | {"PYTHONPATH": str(folder / "workflow"), "VPAUDIT_HOME": str(folder)}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "vpaudit", *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done


def start_up(folders: dict[str, Path]) -> list[dict]:
    jobs = {}
    for commit, folder in folders.items():
        (folder / "resolved.yaml").write_text(vpaudit(folder, "show-config")[1].stdout, encoding="utf-8")
        stage = ["stage"] if (folder / "workflow/vpaudit/commands").exists() else []
        jobs[commit, "vpaudit --help"] = ["--help"]
        jobs[commit, "job collect"] = [*stage, "collect", "--config", "resolved.yaml"]
    times = {job: [] for job in jobs}
    for _ in range(RUNS):
        for (commit, what), arguments in jobs.items():
            seconds, done = vpaudit(folders[commit], *arguments)
            if what == "job collect" and "metrics" not in done.stderr:
                raise SystemExit(f"{commit}: {done.stderr}")  # it ended before its first file
            times[commit, what].append(seconds)
    return [
        {"commit": commit, "what": what, "unit": "processor seconds", "value": np.median(seen), "low": min(seen)}
        | {"high": max(seen), "n": RUNS}
        for (commit, what), seen in times.items()
    ]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", required=True, help="commit to compare with")
    parser.add_argument("--out", required=True, help="CSV file to write")
    asked = parser.parse_args()
    now = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True).stdout
    with tempfile.TemporaryDirectory() as place:
        folders = {c: checkout(c, Path(place) / c) for c in (asked.before, now.strip())}
        rows = [
            {"commit": commit, "what": what, "unit": "count", "value": value}
            for commit, folder in folders.items()
            for what, value in lines(folder).items()
        ]
        table = pd.DataFrame(rows + start_up(folders))
    with files.atomic(Path(asked.out)) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")
    print(table.to_string())


if __name__ == "__main__":
    main()
