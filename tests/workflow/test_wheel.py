"""Built wheels, installed in a folder of their own and used in one that is no repository."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import diffusers
import pytest
import torch
from PIL import Image

from vpaudit import data
from vpaudit.base import files, places

SOURCES = (
    "pyproject.toml", "setup.py", "packaging", "README.md", "LICENSE", "Snakefile", "environment.yml", "rules",
    "config", "profiles", "resources", "workflow",
)  # fmt: skip
PYPI_LIMIT = 100e6  # bytes a file


@pytest.fixture(scope="module")
def wheels(root, tmp_path_factory) -> list[Path]:
    """vpaudit and vpaudit-priors, built from a copy so that nothing is left in the repository."""
    copy, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheels")
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info", "full", "local")
    for part in SOURCES:
        if (root / part).is_dir():
            shutil.copytree(root / part, copy / part, ignore=ignore)
        else:
            shutil.copy(root / part, copy / part)
    run("pip", "wheel", ".", "./packaging/priors", "--quiet", "--no-deps", "--no-build-isolation", "-w", out, cwd=copy)
    return sorted(out.iterdir())


@pytest.fixture(scope="module")
def installed(wheels, tmp_path_factory) -> Path:
    """Where the wheels are installed, read-only."""
    target = tmp_path_factory.mktemp("installed")
    run("pip", "install", "--quiet", "--no-deps", "--no-index", "--target", target, *wheels, cwd=target)
    for path in target.rglob("*"):
        path.chmod(path.stat().st_mode & ~0o222)
    return target


@pytest.fixture
def elsewhere(installed, tmp_path, monkeypatch):
    """Runs `python -m vpaudit` of the installed wheels in a folder that is no repository; gives what it printed."""
    monkeypatch.setenv("PYTHONPATH", str(installed))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("VPAUDIT_HOME", raising=False)
    before = state(installed)
    yield lambda *arguments: run("vpaudit", *arguments, cwd=tmp_path)
    assert state(installed) == before


def state(folder: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*")}


def run(module: str, *arguments, cwd: Path) -> str:
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_every_shipped_prior_is_in_one_wheel_of_at_most_100_mb(root, wheels):
    found = [name for wheel in wheels for name in zipfile.ZipFile(wheel).namelist()]
    priors = [name.split("resources/priors/")[1] for name in found if "resources/priors/" in name]
    listed = subprocess.run(["git", "ls-files", "resources/priors"], cwd=root, capture_output=True, text=True)
    if listed.returncode == 0 and listed.stdout:
        assert sorted(priors) == sorted(name.removeprefix("resources/priors/") for name in listed.stdout.split())
    assert len(priors) == len(set(priors))
    assert all(wheel.stat().st_size <= PYPI_LIMIT for wheel in wheels)


def test_the_wheel_holds_every_file_of_the_package(root, wheels):
    found = {name for wheel in wheels for name in zipfile.ZipFile(wheel).namelist()}
    package = root / "workflow/vpaudit"
    files_there = (p for p in package.rglob("*") if p.is_file() and p.suffix != ".pyc")
    assert {f"vpaudit/{p.relative_to(package)}" for p in files_there} <= found


def test_doctor_says_where_workflow_priors_and_cache_are(elsewhere, installed, tmp_path):
    found = elsewhere("doctor")
    assert f"{installed}/vpaudit/_workflow, {installed}/vpaudit_priors" in found
    assert all(name in found for name in ("fashion_mnist_dit", "fashion_mnist_gaussian", "cifar10"))
    assert str(tmp_path / "cache" / "vpaudit") in found
    assert not (tmp_path / "cache").exists()


def test_a_working_copy_is_whole_and_knows_its_rules(elsewhere, root, tmp_path):
    elsewhere("init", "mine")
    laid_out = {path.relative_to(tmp_path / "mine") for path in (tmp_path / "mine").rglob("*") if path.is_file()}
    parts = (*places.WORKFLOW, *places.MORE_PRIORS)
    assert laid_out == {path.relative_to(root) for path in places.files_of(root, parts)}
    done = run("snakemake", "--dry-run", "--cores", "1", "--", "all", cwd=tmp_path / "mine")
    assert "results/embedded/report.html" in done


def test_an_audit_runs_far_from_any_repository(elsewhere, tmp_path):
    """Four images, a network of a few hundred weights that covers the noise of a single µ, and all the rules."""
    (tmp_path / "images").mkdir()
    for i, image in enumerate(data.load("fashion_mnist", "test").images[:4]):
        Image.fromarray(image).save(tmp_path / "images" / f"{i}.png")
    tiny_prior(tmp_path / "tiny")
    settings = ("--mu", 5, "--limit", 4, "--prior", "tiny", "--cores", 1)
    text = elsewhere("audit", "--images", "images", *settings, "--out", "answer")
    assert "4 images audited" in text
    assert json.loads((tmp_path / "answer/audit.json").read_text())["asked"][0]["mu"] == 5
    assert (tmp_path / "answer/report.html").stat().st_size > 10_000
    results = tmp_path / "cache/vpaudit/results"
    assert [path.parent for path in results.glob("audit-*/report.html")] == list(results.iterdir())
    assert {path.name for path in tmp_path.iterdir()} == {"images", "tiny", "answer", "cache"}


def tiny_prior(folder: Path) -> None:
    torch.manual_seed(0)
    diffusers.UNet2DModel(
        sample_size=28, in_channels=1, out_channels=1, block_out_channels=(8,), down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",), layers_per_block=1, norm_num_groups=4,
    ).save_pretrained(folder / "unet")  # fmt: skip
    diffusers.DDPMScheduler(num_train_timesteps=1000).save_pretrained(folder / "scheduler")
    weights = folder / "unet/diffusion_pytorch_model.safetensors"
    files.write_json(
        folder / "card.json", {"shape": [1, 28, 28], "sigma_range": [3, 8], "sha256": files.sha256(weights)}
    )


def test_a_folder_that_holds_something_is_refused(tmp_path, capsys):
    from vpaudit.commands.main import main

    (tmp_path / "thesis.tex").write_text("mine")
    assert main(["init", str(tmp_path)]) == 2
    assert "is not an empty folder" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_a_working_copy_that_cannot_be_finished_leaves_nothing(tmp_path, monkeypatch):
    from vpaudit.commands import init

    monkeypatch.setattr(init.shutil, "copyfile", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(Exception, match="no space left"):
        init.init(tmp_path / "mine")
    assert os.listdir(tmp_path) == []
