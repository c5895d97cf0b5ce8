"""A run of Snakemake as people want to see it: a line a stage with the time that is left; the rest in a log.

`workflow/run.sh` pipes Snakemake's output through this. Errors and what a job says to the user are passed on.
"""

import argparse
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

# Time of a job over that of one that only starts Python and reads tables; measured on two cores, where not trained.
COST = {
    "reconstruct": 9.0,
    "evaluate": 9.0,
    "baseline": 5.0,
    "domain": 5.0,
    "participation": 9.0,
    "measurement": 9.0,
    "train_prior": 60.0,
}
FINISHED = re.compile(r"Finished jobid: \d+ \(Rule: (\w+)\)")
AGAIN = "\x1b[A\x1b[K"  # up to the line before, emptied
PASSED_ON = re.compile(r"(error|hint|warning): |Error in rule|Exiting because|\w*(Error|Exception)\b")


def add_follow(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", type=Path, help="file that keeps everything")
    command.set_defaults(run=_run)


def _run(arguments) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Snakemake ends on it, and its last words are shown
    arguments.file.parent.mkdir(parents=True, exist_ok=True)
    with open(arguments.file, "w", encoding="utf-8") as log:
        before = ""
        for stage, text in told(_kept(sys.stdin, log)):
            again = bool(stage) and stage == before and sys.stdout.isatty()  # a stage has one line, which moves on
            print(f"{AGAIN * again}{text}", flush=True)
            before = stage


def _kept(lines: Iterable[str], log) -> Iterator[str]:
    for line in lines:
        log.write(line)
        log.flush()
        yield line


def told(lines: Iterable[str], clock=time.monotonic) -> Iterator[tuple[str, str]]:
    """What a person is told of Snakemake's output: (stage whose job finished, or "" of anything else; text)."""
    started, jobs, done, in_error = clock(), Counter(), Counter(), False
    for line in map(str.rstrip, lines):
        if count := re.fullmatch(r"(\w+) +(\d+)", line):
            jobs[count[1]] = int(count[2])
        elif (finished := FINISHED.search(line)) and finished[1] in jobs:
            done[finished[1]] += 1
            yield finished[1], _progress(finished[1], jobs, done, clock() - started)
        in_error = bool(line) and (in_error or "Error in rule" in line)
        if in_error or PASSED_ON.match(line):
            yield "", line


def _progress(rule: str, jobs: Counter, done: Counter, seconds: float) -> str:
    number = f" {done[rule]} of {jobs[rule]}" if jobs[rule] > 1 else ""
    share = _cost(done) / _cost(jobs)
    return _line(done.total(), jobs["total"], f"{rule.replace('_', ' ')}{number}", seconds, share)


def _line(done: int, total: int, name: str, seconds: float, share: float) -> str:
    """share: of the work that is done."""
    left = f", about {_minutes(seconds * (1 / share - 1))} left" if share < 1 else ""
    return f"[{done}/{total}] {name}: {_minutes(seconds)}{left}"


class Steps:
    """Equal steps of work in this process, told on stderr as the jobs of Snakemake are."""

    def __init__(self, name: str, total: int):
        self.name, self.total, self.done, self.started = name, total, 0, time.monotonic()

    def step(self) -> None:
        """One more is done."""
        self.done += 1
        again = AGAIN * (self.done > 1 and sys.stderr.isatty())
        line = _line(self.done, self.total, self.name, time.monotonic() - self.started, self.done / self.total)
        print(f"{again}{line}", file=sys.stderr, flush=True)


def _cost(jobs: Counter) -> float:
    return sum(COST.get(name, 1.0) * count for name, count in jobs.items() if name != "total")


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
