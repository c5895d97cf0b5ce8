"""The whole chain through Snakemake on real (small) images, in a copy of the repository."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

PARTS = ("Snakefile", "rules", "workflow", "config", "profiles", "resources", "environment.yml")


def environment(copy: Path) -> dict[str, str]:
    """The copy's own package first on the path, this interpreter's commands, one thread a process."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {
        **os.environ,
        "PATH": path,
        "PYTHONPATH": str(copy / "workflow"),
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
    }


def make_copy(root: Path, destination: Path) -> Path:
    for part in PARTS:
        source = root / part
        ignore = shutil.ignore_patterns("__pycache__", "*.egg-info", "full")
        if source.is_dir():
            shutil.copytree(source, destination / part, ignore=ignore)
        else:
            destination.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, destination / part)
    return destination


def snakemake(
    copy: Path, *arguments: str, configfile: str = "config/smoke.yaml", timeout: int = 1200
) -> subprocess.CompletedProcess:
    # one thread is as fast for a network this small, and does not wait for another beside other tests
    command = ["snakemake", "--cores", "2", "--set-threads", "train_prior=1", "few_step=1", *arguments]
    if configfile:
        command[1:1] = ["--configfile", configfile]
    return subprocess.run(command, cwd=copy, env=environment(copy), text=True, capture_output=True, timeout=timeout)


def planned(copy: Path, *arguments: str, configfile: str = "config/smoke.yaml") -> dict[str, int]:
    """Jobs by rule that a run would make now."""
    done = snakemake(copy, "--dry-run", *arguments, configfile=configfile)
    assert done.returncode == 0, done.stderr
    jobs = {}
    lines = done.stdout.splitlines()
    if any(line.startswith("job ") for line in lines):
        for line in lines[next(i for i, text in enumerate(lines) if text.startswith("job ")) + 2 :]:
            if not line.strip():
                break
            name, count = line.split()
            jobs[name] = int(count)
    jobs.pop("total", None)
    return jobs


@pytest.fixture(scope="session")
def study(root, tmp_path_factory) -> Path:
    """A repository copy in which the smoke study ran from data to report."""
    copy = make_copy(root, tmp_path_factory.mktemp("smoke") / "repository")
    done = snakemake(copy)
    assert done.returncode == 0, done.stderr[-5000:]
    return copy


def read(copy: Path, table: str, name: str = "smoke") -> pd.DataFrame:
    return pd.read_parquet(copy / "results" / name / f"{table}.parquet")


def test_everything_is_there_and_nothing_is_left_to_do(study):
    results = study / "results" / "smoke"
    for name in ("summary.json", "report.html", "metrics.parquet", "bounds.parquet", "config.yaml"):
        assert (results / name).stat().st_size > 100
    figures = study / "figures" / "smoke"
    assert {p.suffix for p in figures.iterdir()} == {".pdf", ".png", ".csv", ".txt", ".tex"}
    for path in (*figures.glob("*.png"), *figures.glob("*.tex")):
        assert "seed 240307588." in path.with_suffix(".txt").read_text()
    assert json.loads((results / "run.json").read_text())["commit"] == "not known"  # no git in this copy
    assert planned(study) == {}


def test_tables_hold_every_image_attack_and_mu(study):
    metrics = read(study, "metrics")
    assert metrics["image"].nunique() == 24
    assert sorted(metrics["mu"].unique()) == [2, 10, 50]
    compared = {"wiener", "posterior_mean", "given_norm", "posterior_mean_untold"}
    assert set(metrics["attack"]) == {"raw", "ddim", "ddpm"} | compared
    assert {"mse", "psnr", "ssim", "ncc"} <= set(metrics["metric"])
    assert metrics.groupby(["prior", "attack", "mu", "draw", "metric"]).size().eq(24).all()
    assert np.isfinite(metrics["value"]).all()
    references = read(study, "references")
    assert set(references["attack"]) == compared
    assert references.groupby(["prior", "attack", "mu", "reference", "metric"]).size().eq(24).all()


def test_the_prior_that_was_trained_is_of_use(study):
    """Order that must hold for any prior that learned something: diffusion <= Gaussian-ish < raw at strong noise."""
    mse = read(study, "metrics").query("metric == 'mse' and mu == 10").groupby(["prior", "attack"])["value"].mean()
    assert mse["gaussian", "wiener"] < mse["none", "raw"]
    assert mse["unconditional", "posterior_mean"] < 0.8 * mse["none", "raw"]


def test_agreement_never_saw_the_target(study):
    """Recomputed from the draws in the file alone: mean squared difference over the three pairs of three draws."""
    table = read(study, "consistency")
    assert set(table["attack"]) == {"ddpm"}
    for mu in (2, 10, 50):
        draws = np.load(study / f"results/smoke/reconstructions/mu={mu}.npz")["unconditional.ddpm"].astype(float)
        pairs = [np.square(draws[j] - draws[k]).mean(axis=(1, 2, 3)) for j, k in ((0, 1), (0, 2), (1, 2))]
        found = table.query("metric == 'mse' and mu == @mu").sort_values("image")["agreement"]
        np.testing.assert_allclose(found, np.mean(pairs, axis=0), rtol=1e-4)


def test_style_change_redraws_figures_alone(study):
    jobs = planned(study, "--config", 'figures={"style": "print"}')
    assert set(jobs) <= {"figure", "experiment_figure", "figures", "report", "all"}
    assert jobs["figure"] >= 4


def test_redaction_writes_the_page_again_and_nothing_else(study):
    assert planned(study, "--config", 'report={"redact": true}') == {"report": 1, "all": 1}


def test_one_more_mu_computes_only_that_mu(study):
    jobs = planned(study, "--config", 'mechanism={"mu": [2, 10, 20, 50]}')
    assert {name: jobs[name] for name in ("privatize", "reconstruct", "evaluate")} == {
        "privatize": 1, "reconstruct": 1, "evaluate": 1,
    }  # fmt: skip
    assert not set(jobs) & {"targets", "train_prior", "baseline"}


def test_snakemakes_own_report_works_offline_and_holds_figures_by_section(study, tmp_path):
    """Every way out is blocked; captions, sections and all figures are inside."""
    command = ["snakemake", "--configfile", "config/smoke.yaml", "--report", str(tmp_path / "report.zip")]
    blocked = {f"{kind}_proxy": "http://127.0.0.1:9" for kind in ("http", "https", "all")}
    done = subprocess.run(
        command, cwd=study, env={**environment(study), **blocked}, text=True, capture_output=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-3000:]
    with zipfile.ZipFile(tmp_path / "report.zip") as archive:
        names = archive.namelist()
        page = "".join(archive.read(n).decode() for n in names if n.endswith((".html", ".js")))
        images = {archive.read(n) for n in names if n.endswith(".png")}
    made = study / "figures" / "smoke"
    assert {path.read_bytes() for path in made.glob("*.png")} <= images
    for word in ("Visual examples", "Success over the noise, against bounds", "Prior and distribution shift"):
        assert word in page
    assert "n = 24 images of Optical recognition of handwritten digits" in page
    assert not re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=.https?:", page)


def test_an_audit_of_peoples_own_images(study, tmp_path):
    """Files as people have them, through the rules of the studies, to an answer that names nobody."""
    copy = tmp_path / "audit"
    shutil.copytree(study, copy, symlinks=True)
    folder = copy / "patient_smith"
    folder.mkdir()
    digits = np.load(study / "results/smoke/targets.npz")["images"]
    for i in range(6):
        Image.fromarray(digits[i]).resize((24, 24)).save(folder / f"smith_{i}.png")
    (folder / "smith_cut.png").write_bytes((folder / "smith_0.png").read_bytes()[:60])
    shutil.copy(folder / "smith_1.png", folder / "smith_twin.png")
    prior = ("--prior", "results/smoke/prior", "--gaussian", "results/smoke/gaussian")
    command = (
        "audit",
        "--images",
        "patient_smith",
        "--noise-multiplier",
        "0.1",
        "--steps",
        "4",
        "--sample-rate",
        "0.5",
    )
    done = vpaudit(copy, *command, *prior, "--out", "answer", "--cores", "2", timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "6 images audited, 2 left out" in done.stdout
    assert "How much noise hides them" in done.stdout
    out = copy / "answer"
    found = json.loads((out / "audit.json").read_text())
    assert [row["mu"] for row in found["asked"]] == [10, 14.14]  # one round or the sum of four, two rounds on average
    (unknown,) = [who["mu"] for who in found["adversaries"] if who["adversary"] == "participation_unknown"]
    assert sorted({row["mu"] for row in found["visible"]}) == pytest.approx([10, unknown, 14.14])
    assert 10 < unknown < 14.15
    assert "held-out images" in found["distance"]["reference"]
    for name in (
        "report.html",
        "audit.txt",
        "tables/metrics.csv",
        "figures/reconstructions.png",
        "figures/metrics.tex",
    ):
        assert (out / name).stat().st_size > 100, name
    private = [
        *out.rglob("*"),
        *(copy / "results" / found["study"]).rglob("*"),
        *(copy / "figures" / found["study"]).rglob("*"),
    ]
    assert not [p for p in private if p.stat().st_mode & 0o077]
    shareable = b"".join(p.read_bytes() for p in out.rglob("*") if p.is_file())
    assert b"smith" not in shareable
    assert str(copy).encode() not in shareable
    assert "smith_cut.png" in (copy / "results" / found["study"] / "left_out.csv").read_text()


def test_experiments_run_through_the_same_graph(study, tmp_path):
    """Few-step solvers fitted to the prior, an experiment at one mu, its table and its figure."""
    copy = tmp_path / "experiments"
    shutil.copytree(study, copy, symlinks=True)
    done = snakemake(copy, "--", "figures/smoke-engine/calls.png")
    assert done.returncode == 0, done.stderr[-3000:]
    table = pd.read_parquet(copy / "results" / "smoke" / "experiments" / "calls.parquet")
    rmse = table[table["metric"] == "rmse_converged"].groupby(["solver", "calls"])["value"].mean()
    assert rmse["few_step", 4] < rmse["ddim", 4]  # fitted to this prior on its training images, tried on test images
    assert rmse["multistep_2", 16] < rmse["multistep_2", 6]


def test_edited_code_reruns_what_uses_it(study, tmp_path):
    copy = tmp_path / "edited"
    shutil.copytree(study, copy, symlinks=True)
    metrics = copy / "workflow" / "vpaudit" / "measure" / "metrics.py"
    metrics.touch()
    assert planned(copy) == {}
    metrics.write_text(metrics.read_text() + "\n# edited\n")
    jobs = planned(copy)
    assert jobs["evaluate"] == 3
    assert "reconstruct" not in jobs


def test_other_shards_and_jobs_give_the_same_tables(study, tmp_path):
    """Checkpoints of 7 images and jobs of 10: three parts a mu, joined in the tables."""
    copy = tmp_path / "sharded"
    shutil.copytree(study, copy, symlinks=True)
    shutil.rmtree(copy / "work")
    for folder in ("observations", "reconstructions", "parts"):
        shutil.rmtree(copy / "results" / "smoke" / folder)
    cut = ("shard_size=7", 'jobs={"images_per_job": 10}', 'mechanism={"mu": [2, 50]}')
    done = snakemake(copy, "--config", *cut, "--", "stage_evaluate", "collect")
    assert done.returncode == 0, done.stderr[-3000:]
    names = {path.name for path in (copy / "results/smoke/reconstructions").iterdir()}
    assert names == {f"mu={mu}_shard=000{n}.npz" for mu in (2, 50) for n in range(3)}
    keys = ["image", "prior", "attack", "mu", "metric"]
    for table, more in (("metrics", ["draw"]), ("baselines", ["kind", "other"]), ("references", ["reference", "draw"])):
        a, b = read(study, table).query("not mu == 10"), read(copy, table)
        assert len(a) == len(b)
        a, b = (rows.drop_duplicates(keys + more) for rows in (a, b))  # of few images two may be partners twice
        joined = a.merge(b, on=keys + more, suffixes=("_a", "_b"))
        assert len(joined) == len(a) == len(b)
        scale = joined["value_a"].abs().clip(lower=1)
        assert ((joined["value_a"] - joined["value_b"]).abs() / scale).max() <= 1e-4


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "Ctrl-C"])
def test_interrupted_run_is_finished_by_the_same_command(study, tmp_path, blow):
    """The whole process group is hit in the middle of the reconstructions; same tables afterwards."""
    copy = tmp_path / "killed"
    shutil.copytree(study, copy, symlinks=True)
    shutil.rmtree(copy / "work" / "smoke" / "reconstruct")
    for folder in ("reconstructions", "parts"):
        shutil.rmtree(copy / "results" / "smoke" / folder)
    shutil.rmtree(copy / "figures")
    for made in (*(copy / "results" / "smoke").glob("*.parquet"), *(copy / "results" / "smoke").glob("*.[hj]*")):
        made.unlink()  # with the ends there, Snakemake would not miss what they were made from
    command = [str(copy / "workflow" / "run.sh"), "--cores", "2", "--configfile", "config/smoke.yaml"]
    process = subprocess.Popen(
        command, cwd=copy, env=environment(copy), start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # in a background job ignored
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not list((copy / "work" / "smoke").glob("reconstruct/*/*.npz")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, blow)
    assert process.wait(timeout=120) != 0
    assert list((copy / "work" / "smoke").glob("reconstruct/*/*.npz"))
    for whole in (copy / "results" / "smoke" / "reconstructions").glob("mu=*.npz"):
        assert np.load(whole).files  # what has its final name is complete
    done = subprocess.run(command, cwd=copy, env=environment(copy), text=True, capture_output=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Study smoke" in done.stdout
    assert not list(copy.rglob(".*.tmp.*"))
    pd.testing.assert_frame_equal(read(study, "metrics"), read(copy, "metrics"), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--config", 'mechansim={"mu": [1]}'), "did you mean 'mechanism'"),
        (("--config", 'mechanism={"mu": [-3]}'), "must be > 0, got -3"),
    ],
)
def test_bad_configuration_stops_before_anything_runs(study, arguments, expected):
    done = snakemake(study, "--dry-run", *arguments)
    assert done.returncode != 0
    assert expected in done.stderr + done.stdout


def vpaudit(copy: Path, *arguments: str, timeout: int = 120) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "vpaudit", *arguments]
    return subprocess.run(command, cwd=copy, env=environment(copy), text=True, capture_output=True, timeout=timeout)


def test_a_prior_that_does_not_fit_is_refused_by_name(study, tmp_path):
    copy = tmp_path / "misfit"
    shutil.copytree(study, copy, symlinks=True)
    config = (copy / "results/smoke/config.yaml").read_text()
    config = config.replace("path: results/smoke/prior", "path: resources/priors/fashion_mnist_dit")
    (copy / "results/smoke/config.yaml").write_text(config)
    target = copy / "results/smoke/reconstructions/mu=2.npz"
    target.unlink()
    done = vpaudit(copy, "stage", "reconstruct", "--config", "results/smoke/config.yaml", "--part", "2")
    assert done.returncode == 2
    assert "(1, 28, 28)" in done.stderr
    assert "(1, 8, 8)" in done.stderr
    assert not target.exists()


def test_images_of_a_folder_have_no_class(study, tmp_path):
    """Attacks that need a class are left out; the others run and are measured."""
    copy = tmp_path / "mine"
    shutil.copytree(study, copy, symlinks=True)
    (copy / "pictures").mkdir()
    for i in range(4):
        Image.fromarray((np.random.default_rng(i).random((8, 8)) * 255).astype(np.uint8)).save(
            copy / f"pictures/{i}.png"
        )
    data = 'data={"folder": "pictures", "images": 3}'
    done = snakemake(copy, "--config", data, "--", "stage_evaluate", "collect")
    assert done.returncode == 0, done.stderr[-3000:]
    table = read(copy, "metrics")
    assert set(table["prior"]) == {"none", "gaussian", "unconditional"}
    assert set(table["dataset"]) == {"pictures"}
    assert table["image"].nunique() == 3


def test_altered_weights_are_refused(study, tmp_path):
    copy = tmp_path / "altered"
    shutil.copytree(study, copy, symlinks=True)
    weights = copy / "results/smoke/prior/transformer/diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    done = vpaudit(copy, "stage", "reconstruct", "--config", "results/smoke/config.yaml", "--part", "2")
    assert done.returncode == 2
    assert "truncated or altered" in done.stderr


def test_summary_says_what_was_found(study):
    summary = json.loads((study / "results/smoke/summary.json").read_text())
    ids = {claim["id"] for claim in summary["claims"]}
    assert {"beats_uninformed", "within_theorem", "agreement_predicts_mse", "beats_wiener"} <= ids
    for claim in summary["claims"]:
        assert claim["n"] == (2 if claim["id"].startswith("denoising_") else 24)  # seeds there, images elsewhere
        assert claim["verdict"]
        if claim["value"] is not None and claim["low"] is not None:  # a share of mu that is used has no interval
            assert claim["low"] <= claim["value"] + 1e-9
            assert claim["value"] <= claim["high"] + 1e-9
    assert json.loads((study / "results/smoke/run.json").read_text())["wall_time"]["reconstruct"] > 0
