"""A study pushed to a real S3 server on loopback (moto) and pulled by a fresh clone, which then has nothing to do.

`make test-s3` puts dvc-s3 and moto[server] into an environment of their own, .venv-s3, so that the pinned one is not
touched; only `dvc` and `moto_server` are taken from it.
"""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow"))
from test_dvc import origin, run  # noqa: F401  (origin is a fixture)
from test_smoke import planned

BIN = Path(os.environ.get("VPAUDIT_S3_VENV", Path(__file__).parents[2] / ".venv-s3")) / "bin"
pytestmark = pytest.mark.skipif(
    not (BIN / "moto_server").exists(), reason=f"{BIN} has no dvc-s3 and moto: make test-s3"
)


@pytest.fixture(scope="module")
def server():
    """URL of an S3 server in memory with a bucket `studies`."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [BIN / "moto_server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            try:
                request = urllib.request.Request(f"{url}/studies", method="PUT")
                urllib.request.urlopen(request, timeout=5)
                break
            except OSError:
                time.sleep(0.5)
        else:
            pytest.fail("the S3 server did not start")
        yield url
    finally:
        process.terminate()
        process.wait(timeout=20)


@pytest.fixture
def with_s3(tmp_path):
    """`dvc` of the environment that knows S3, first on the path; everything else stays as it is."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/dvc").symlink_to(BIN / "dvc")
    return str(tmp_path / "bin")


def remote(folder: Path, url: str) -> None:
    """The remote, its keys in .dvc/config.local, which git does not see."""
    run(folder, "dvc", "remote", "add", "--local", "-f", "-d", "s3", "s3://studies/store")
    for key, value in (
        ("endpointurl", url), ("region", "us-east-1"), ("access_key_id", "test"), ("secret_access_key", "test"),
    ):  # fmt: skip
        run(folder, "dvc", "remote", "modify", "--local", "s3", key, value)


def test_push_to_s3_and_pull_into_a_fresh_clone(origin, server, with_s3, tmp_path):  # noqa: F811
    remote(origin, server)
    run(origin, f"{with_s3}/dvc", "push", "--quiet", "--remote", "s3")
    clone = tmp_path / "clone"
    run(tmp_path, "git", "clone", "-q", str(origin), str(clone))
    remote(clone, server)
    assert not (clone / "results/embedded/metrics.parquet").exists()
    run(clone, f"{with_s3}/dvc", "pull", "--quiet", "--remote", "s3")
    assert run(clone, "dvc", "status", "--json").stdout.strip() == "{}"
    run(clone, "snakemake", "--touch", "--forceall", "--quiet", "all")
    assert planned(clone, configfile="") == {}
    assert (clone / "results/embedded/metrics.parquet").read_bytes() == (
        origin / "results/embedded/metrics.parquet"
    ).read_bytes()
    assert run(clone, "git", "status", "--short").stdout == ""  # keys lie in .dvc/config.local, which git ignores


def test_a_missing_bucket_is_said(origin, server, with_s3):  # noqa: F811
    remote(origin, server)
    run(origin, "dvc", "remote", "modify", "--local", "s3", "url", "s3://elsewhere/store")
    done = run(origin, f"{with_s3}/dvc", "push", "--remote", "s3", check=False)
    assert done.returncode != 0
    assert "bucket" in done.stderr.lower()
