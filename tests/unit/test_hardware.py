"""What a job asks of its machine: a GPU of its own where several are, and memory that it need not clear again."""

import platform
import signal
import subprocess
import sys

import pytest

CLAIM = (
    "import sys; from vpaudit.base import machine as h; print(h.claim_gpu(3, sys.argv[1], 0.1), flush=True); input()"
)


def job(folder) -> subprocess.Popen:
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", CLAIM, str(folder)], stdin=pipe, stdout=pipe, text=True)


@pytest.fixture
def jobs(tmp_path):
    started = []

    def start():
        started.append(job(tmp_path))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_each_job_has_a_gpu_of_its_own_and_a_killed_one_frees_it(jobs):
    first = [jobs() for _ in range(3)]
    numbers = [int(process.stdout.readline()) for process in first]
    assert sorted(numbers) == [0, 1, 2]
    fourth = jobs()
    assert "all 3 GPUs are in use" in fourth.stdout.readline()
    first[1].send_signal(signal.SIGKILL)
    assert int(fourth.stdout.readline()) == numbers[1]


FAULTS = """
import resource, numpy as np
from vpaudit.base import machine
machine.keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults(), faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_a_large_array_takes_the_memory_of_the_one_before():
    first, second = map(int, subprocess.check_output([sys.executable, "-c", FAULTS], text=True).split())
    assert second < first / 10
