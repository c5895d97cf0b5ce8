"""The smoke study through profiles/slurm on a real cluster of one node: slurmctld, slurmd and munge from Debian.

    apt-get install --no-install-recommends slurmctld slurmd slurm-client munge;  make test-slurm     # as root

Not part of `make test`: it needs root and the packages. The GPU of the node is a stand-in, a device file that SLURM
hands out and that computes nothing: what is proven is that jobs ask for a GPU, wait for it and are given it.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow"))
from test_smoke import environment, make_copy

TOOLS = ("slurmctld", "slurmd", "munged", "squeue", "sbatch")
MISSING = [tool for tool in TOOLS if shutil.which(tool) is None]
SYSTEM = Path("/etc/slurm/slurm.conf")
pytestmark = [
    pytest.mark.skipif(
        os.geteuid() != 0 or bool(MISSING),
        reason=f"needs root and Debian's slurmctld slurmd slurm-client munge (missing: {', '.join(MISSING)})",
    ),
    pytest.mark.skipif(SYSTEM.exists(), reason=f"{SYSTEM} is there: this machine belongs to a cluster"),
]
# A short training: what the prior learns is not what is tested here.
SMALL = ['mechanism={"mu": [2, 50]}', 'prior={"training": {"images_seen": 6400}}']
SLURM_CONF = """
ClusterName=vpaudit
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
CryptoType=crypto/munge
StateSaveLocation={base}/state
SlurmdSpoolDir={base}/spool
SlurmctldPidFile={base}/slurmctld.pid
SlurmdPidFile={base}/slurmd.pid
SlurmctldPort=16817
SlurmdPort=16818
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
MinJobAge=300
ReturnToService=2
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory=200000 Gres=gpu:1
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """SLURM_CONF of a cluster of this machine; every daemon that was started is stopped at the end."""
    base, host = tmp_path_factory.mktemp("slurm"), socket.gethostname().split(".")[0]
    for folder in ("state", "spool"):
        (base / folder).mkdir()
    gpu = base / "gpu0"
    os.mknod(gpu, 0o666 | 0o020000, os.makedev(1, 3))
    conf = SLURM_CONF.format(host=host, base=base, cores=max(8, os.cpu_count() or 1))
    (base / "slurm.conf").write_text(
        conf + "SlurmdParameters=config_overrides\n"
    )  # as many cores and as much memory as the profile asks for
    (base / "gres.conf").write_text(f"NodeName={host} Name=gpu File={gpu}\n")
    SYSTEM.parent.mkdir(exist_ok=True)  # where srun looks inside a job, whose environment has no SLURM_CONF
    SYSTEM.symlink_to(base / "slurm.conf")
    environ = {**os.environ, "SLURM_CONF": str(base / "slurm.conf")}
    Path("/run/munge").mkdir(exist_ok=True)
    shutil.chown("/run/munge", "munge", "munge")
    munge = ["runuser", "-u", "munge", "--", "munged", "--foreground", "--force"]
    daemons = [munge, ["slurmctld", "-D"], ["slurmd", "-D", "-N", host]]
    running = []
    try:
        for command in daemons:
            log = open(base / f"{Path(command[0]).name}.log", "w")  # noqa: SIM115
            running.append(subprocess.Popen(command, env=environ, stdout=log, stderr=log, start_new_session=True))
            time.sleep(2)
        wait_until(lambda: "idle" in out(environ, "sinfo", "-h", "-o", "%T"), 60, "the node did not come up")
        yield environ
    finally:
        subprocess.run(["scancel", "-u", "root"], env=environ, timeout=30, capture_output=True)
        with contextlib.suppress(AssertionError):  # before slurmd goes, or a job would outlive it
            wait_until(lambda: not out(environ, "squeue", "-h"), 60, "jobs did not end")
        SYSTEM.unlink()
        for process in reversed(running):
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def out(environ, *command: str) -> str:
    return subprocess.run(command, env=environ, text=True, capture_output=True, timeout=30).stdout


def wait_until(condition, seconds: float, what: str):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.5)


def command(*more: str) -> list[str]:
    return [
        "timeout", "-k", "10", "2400", "snakemake", "--configfile", "config/smoke.yaml", "--workflow-profile",
        "profiles/slurm",
        "--default-resources", "mem_mb=500", "runtime=20", "--slurm-init-seconds-before-status-checks", "3",
        "--latency-wait", "10", "--config", *SMALL, *more,
    ]  # fmt: skip


@pytest.fixture
def driver():
    """Starts snakemake in a group of its own; what still runs at the end is killed."""
    started = []

    def start(copy, environ, log) -> subprocess.Popen:
        with open(log, "w") as file:
            process = subprocess.Popen(
                command(), cwd=copy, env=environ, start_new_session=True, stdout=file, stderr=file
            )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def checkpoints(copy: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (copy / "work/smoke/reconstruct").glob("*/*.npz")}


def test_submitted_killed_and_resumed(cluster, root, tmp_path, driver):
    copy = make_copy(root, tmp_path / "repository")
    for made in ("prior", "gaussian"):  # of an earlier `make smoke`; else the cluster trains them
        if (root / "results/smoke" / made / "card.json").exists():
            shutil.copytree(root / "results/smoke" / made, copy / "results/smoke" / made, copy_function=shutil.copy)
    environ = {**cluster, **environment(copy)}
    run, asked = driver(copy, environ, tmp_path / "first.log"), set()

    def begun() -> bool:
        asked.update(out(environ, "squeue", "-h", "-O", "tres-per-job:40").split())
        assert run.poll() is None, (tmp_path / "first.log").read_text()[-4000:]
        return len(checkpoints(copy)) >= 2

    wait_until(begun, 1500, "no reconstruct job got as far as a checkpoint")
    assert "gres:gpu:1" in asked
    os.killpg(run.pid, signal.SIGKILL)  # the driver dies, and its jobs are cancelled in the middle
    run.wait()
    subprocess.run(["scancel", "-u", "root"], env=environ, check=True, timeout=60)
    wait_until(lambda: not out(environ, "squeue", "-h"), 120, "jobs did not end")
    kept = checkpoints(copy)

    subprocess.run(command("--unlock"), cwd=copy, env=environ, check=True, capture_output=True, timeout=120)
    again = driver(copy, environ, tmp_path / "second.log")
    wait_until(lambda: again.poll() is not None, 2400, "the second run did not end")
    assert again.returncode == 0, (tmp_path / "second.log").read_text()[-4000:]
    assert kept.items() <= checkpoints(copy).items()  # finished shards were not computed again
    logs = {path.parent.name for path in (copy / ".snakemake/slurm_logs").glob("rule_*/*.log")} | {
        path.parent.parent.name for path in (copy / ".snakemake/slurm_logs").glob("rule_*/*/*.log")
    }
    assert {"rule_privatize", "rule_reconstruct", "rule_evaluate", "rule_report"} <= logs
    metrics = pd.read_parquet(copy / "results/smoke/metrics.parquet")
    assert metrics.groupby(["prior", "attack", "mu", "draw", "metric"]).size().eq(24).all()
    plan = subprocess.run(command("--dry-run"), cwd=copy, env=environ, text=True, capture_output=True, timeout=300)
    assert "Nothing to be done" in plan.stdout + plan.stderr
