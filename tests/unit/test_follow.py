"""What a person is told of a run: jobs and time left, errors in full, nothing else."""

import io
import subprocess
import sys

from vpaudit.commands import follow

OUTPUT = """\
Building DAG of jobs...
job            count
-----------  -------
targets            1
reconstruct        2
all                1
total              4

Execute 1 jobs...
[Fri Nov 27 16:51:28 2026]
Finished jobid: 5 (Rule: targets)
1 of 4 steps (25%) done
Finished jobid: 2 (Rule: reconstruct)
Finished jobid: 3 (Rule: reconstruct)
Finished jobid: 0 (Rule: all)
"""


def test_a_line_a_job_with_the_time_left():
    clock = iter([0.0, 2.0, 20.0, 38.0, 40.0])
    assert [text for _, text in follow.told(OUTPUT.splitlines(), lambda: next(clock))] == [
        "[1/4] targets: 2 s, about 38 s left",
        "[2/4] reconstruct 1 of 2: 20 s, about 20 s left",
        "[3/4] reconstruct 2 of 2: 38 s, about 2 s left",
        "[4/4] all: 40 s",
    ]


def test_errors_are_told_in_full_and_all_is_kept(tmp_path):
    failed = OUTPUT.split("Finished jobid: 2")[0] + (
        "error: the prior holds NaN\nhint: train it again\n"
        "Error in rule reconstruct:\n    message: none\n    jobid: 2\n\nTrying to restart\n"
    )
    log = tmp_path / "logs" / "run.log"
    command = [sys.executable, "-m", "vpaudit", "follow", str(log)]
    done = subprocess.run(command, input=failed, text=True, capture_output=True, check=True)
    assert done.stdout.splitlines()[1:] == [
        "error: the prior holds NaN", "hint: train it again", "Error in rule reconstruct:", "    message: none",
        "    jobid: 2",
    ]  # fmt: skip
    assert log.read_text() == failed


def test_output_that_names_no_jobs_is_silent():
    assert not list(follow.told(io.StringIO("Nothing to be done.\n")))


def test_on_a_terminal_a_stage_has_one_line(tmp_path):
    """`script` gives the command a terminal of its own."""
    command = f"{sys.executable} -m vpaudit follow {tmp_path / 'run.log'} < {tmp_path / 'output'}"
    (tmp_path / "output").write_text(OUTPUT)
    done = subprocess.run(["script", "-qec", command, "/dev/null"], text=True, capture_output=True, check=True)
    assert done.stdout.count(follow.AGAIN) == 1  # the second job of reconstruct
    assert done.stdout.split(follow.AGAIN)[1].startswith("[3/4] reconstruct 2 of 2")
