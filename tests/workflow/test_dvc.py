"""DVC around the same graph: repro, lock, push, and a fresh clone that pulls and has nothing to do."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from test_smoke import PARTS, environment, make_copy, planned

SMALL = {
    "data": {"images": 6},
    "mechanism": {"mu": [5, 50]},
    "attacks": [
        {"name": "raw", "kind": "raw"},
        {"name": "wiener", "kind": "wiener"},
        {"name": "posterior_mean", "kind": "posterior_mean"},
        {"name": "given_norm", "kind": "given_norm"},
        {"name": "ddim", "kind": "ddim", "steps": 3},
        {"name": "ddpm", "kind": "ddim", "steps": 3, "eta": 1.0, "draws": 2},
    ],
    "evaluate": {"metrics": ["mse", "psnr", "ssim", "ncc"], "unrelated": 1},
}
TRACKED = (*PARTS, ".gitignore", ".dvcignore", "dvc.yaml", ".dvc/config", ".dvc/.gitignore")


def run(folder: Path, *command: str, check: bool = True) -> subprocess.CompletedProcess:
    done = subprocess.run(command, cwd=folder, env=environment(folder), text=True, capture_output=True, timeout=600)
    assert not check or done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    return done


def commit(folder: Path, text: str) -> None:
    run(folder, "git", "add", "-A")
    run(folder, "git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", text)


@pytest.fixture(scope="module")
def origin(root, tmp_path_factory) -> Path:
    """A git and DVC repository in which the embedded study, made small, went through `dvc repro` and was pushed."""
    base = tmp_path_factory.mktemp("dvc")
    copy = make_copy(root, base / "origin")
    for name in set(TRACKED) - set(PARTS):
        (copy / name).parent.mkdir(exist_ok=True)
        shutil.copy(root / name, copy / name)
    # the parameters that dvc.yaml names stand in config/config.yaml, so the small study is written there
    config = yaml.safe_load((copy / "config/config.yaml").read_text())
    for key, value in SMALL.items():
        config[key] = {**config[key], **value} if isinstance(value, dict) else value
    (copy / "config/config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    run(copy, "git", "init", "-q", "-b", "main")
    run(copy, "dvc", "remote", "add", "-q", "-d", "store", str(base / "store"))
    run(copy, "dvc", "repro", "--quiet")
    commit(copy, "study")
    run(copy, "dvc", "push", "--quiet")
    return copy


def test_repro_ran_the_whole_chain_and_the_lock_says_so(origin):
    lock = yaml.safe_load((origin / "dvc.lock").read_text())
    stages = yaml.safe_load((origin / "dvc.yaml").read_text())["stages"]
    assert set(lock["stages"]) == set(stages)
    for name, stage in lock["stages"].items():
        assert stage["outs"], name
        assert stage["deps"], name
    assert lock["stages"]["privatize"]["params"]["config/config.yaml"]["mechanism.mu"] == [5, 50]
    assert run(origin, "dvc", "status", "--json").stdout.strip() == "{}"
    assert planned(origin, configfile="") == {}


def test_git_holds_summary_and_figures_and_no_arrays(origin):
    files = run(origin, "git", "ls-files").stdout.split()
    assert "results/embedded/summary.json" in files
    assert "figures/embedded/reconstructions.png" in files
    arrays = [f for f in files if f.endswith((".parquet", "targets.npz")) or "mu=" in f]
    assert not arrays


def test_a_fresh_clone_pulls_and_has_nothing_to_do(origin, tmp_path):
    clone = tmp_path / "clone"
    run(tmp_path, "git", "clone", "-q", str(origin), str(clone))
    run(clone, "workflow/restore.sh")
    assert planned(clone, configfile="") == {}
    (clone / "config/config.yaml").write_text((clone / "config/config.yaml").read_text().replace("- 50\n", "- 40\n"))
    jobs = planned(clone, configfile="")
    assert jobs["reconstruct"] == 1
    refused = run(clone, "workflow/restore.sh", check=False)
    assert refused.returncode == 3
    assert "does not match dvc.lock" in refused.stderr
