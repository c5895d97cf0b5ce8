"""The paper's study through the same rules on real images that lie here, cut down by an overlay.

Networks have the layout of the public priors and random weights, so shapes, memory, noise levels, metrics, bounds,
figures and report are those of the real thing, and what is reconstructed is not. Widths at 256 pixels are divided by
16, because the full ones take minutes an image on a CPU: `make test-real` runs them in full, and CelebA-HQ too, which
goes the way of ImageNet but for its one shard and its layout.
"""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from test_smoke import make_copy, planned, read, snakemake
from torch.utils.flop_counter import FlopCounterMode

import architectures

SHARED = Path(os.environ.get("VPAUDIT_SHARED_DATA") or Path(__file__).parents[3] / "shared" / "data")
FULL_WIDTH = os.environ.get("VPAUDIT_FULL_WIDTH") == "1"
pytestmark = pytest.mark.skipif(
    not SHARED.exists(), reason=f"{SHARED} is not here: real CIFAR-10, CelebA-HQ and ImageNet (or VPAUDIT_SHARED_DATA)"
)
ATTACKS = [
    {"name": "raw", "kind": "raw"},
    {"name": "wiener", "kind": "wiener"},
    {"name": "posterior_mean", "kind": "posterior_mean"},
    {"name": "ddim", "kind": "ddim", "steps": 2},
    {"name": "ddpm", "kind": "multistep", "steps": 2, "eta": 1.0, "draws": 2},
]
STUDIES = {  # images, training images of the Gaussian prior, mu, images a job
    "cifar10": ("cifar10_test_9000_lossless.zip", ("cifar10_train_40000_lossless.zip", ""), [10, 100], None),
    "celebahq": ("celebahq_256.zip", ("faces_utk_200.zip", ""), [20, 400], None),
    "imagenet": ("imagenet_256.zip", ("imagenet_256.zip", ""), [20, 400], 2),
}


def overlay(copy: Path, name: str) -> list[str]:
    """Configuration files of a cut-down study: the paper's own, and what makes it small and local."""
    images, (train, under), mu, per_job = STUDIES[name]
    size = architectures.LAYOUTS[name]["sample_size"]
    own = {
        "data": {"folder": str(SHARED / images), "size": size, "train": str(SHARED / train), "train_under": under,
                 "images": 6 if size == 32 else 3},
        "mechanism": {"mu": mu},
        "prior": {"path": "random", "rows": 3},
        "attacks": ATTACKS,
        "jobs": {"images_per_job": per_job},
        "evaluate": {"unrelated": 1},
    }  # fmt: skip
    (copy / "config/cut.yaml").write_text(yaml.safe_dump(own))
    between = [f"config/paper/{name}.yaml"] if name != "cifar10" else []
    return ["config/paper.yaml", *between, "config/cut.yaml"]


@pytest.fixture(scope="module", params=list(STUDIES) if FULL_WIDTH else ["cifar10", "imagenet"])
def study(request, root, tmp_path_factory):
    """(name, copy, configuration files) of a finished study."""
    name = request.param
    copy = make_copy(root, tmp_path_factory.mktemp(name) / "repository")
    files = overlay(copy, name)
    narrower = 1 if FULL_WIDTH or name == "cifar10" else 16
    architectures.save(name, copy / "random", narrower)
    done = snakemake(copy, "--configfile", *files, configfile="", timeout=5400 if FULL_WIDTH else 1200)
    assert done.returncode == 0, done.stderr[-5000:]
    return name, copy, files


def test_the_whole_study_runs_and_nothing_is_left_to_do(study):
    name, copy, files = study
    results, figures = copy / "results" / f"paper-{name}", copy / "figures" / f"paper-{name}"
    assert (results / "report.html").stat().st_size > 10_000
    assert {p.suffix for p in figures.iterdir()} == {".pdf", ".png", ".csv", ".txt", ".tex"}
    assert np.array(Image.open(figures / "reconstructions.png").convert("RGB")).std() > 10
    assert planned(copy, "--configfile", *files, configfile="") == {}


def test_every_image_is_measured_once_by_the_metrics_of_its_size(study):
    name, copy, _ = study
    metrics = read(copy, "metrics", f"paper-{name}")
    side = architectures.LAYOUTS[name]["sample_size"]
    lpips = "lpips_vgg_64" if side < 64 else "lpips_vgg"
    assert set(metrics["metric"]) == {"mse", "psnr", "ssim", "ncc", lpips}
    assert np.isfinite(metrics["value"]).all()
    with np.load(copy / f"results/paper-{name}/targets.npz") as file:
        images, ids = file["images"], file["ids"]
    assert images.shape == (6 if side == 32 else 3, side, side, 3)
    counts = metrics.groupby(["prior", "attack", "mu", "draw", "metric"])["image"].apply(sorted)
    assert all(found == sorted(ids.tolist()) for found in counts)
    shards = list((copy / f"results/paper-{name}/reconstructions").glob("*_shard=*.npz"))
    assert len(shards) == (4 if name == "imagenet" else 0)  # two shards at each of two mu


def test_the_release_obeys_the_uninformed_law(study):
    """Averaged over images and within its quantiles: E[MSE] of x + s z is s^2, s = |x| / mu, on [-1, 1]."""
    name, copy, _ = study
    with np.load(copy / f"results/paper-{name}/targets.npz") as file:
        x = torch.from_numpy(file["images"] / 127.5 - 1).flatten(1)
    bounds = read(copy, "bounds", f"paper-{name}")
    for mu in STUDIES[name][2]:
        s = x.norm(dim=1) / mu
        row = bounds.query("bound == 'uninformed' and metric == 'mse' and mu == @mu").iloc[0]
        assert row["value"] == pytest.approx(float((s**2).mean()), rel=1e-9)
        paths = (copy / f"results/paper-{name}/observations").glob("*.npz")
        for path in (p for p in paths if p.stem.split("_shard=")[0] == f"mu={mu}"):
            with np.load(path) as seen:
                released = seen["y"] / seen["lam"][:, None, None, None]
                first = int(path.stem.split("_shard=")[1]) * 2 if "_shard=" in path.stem else 0
                own = x[first : first + len(released)].reshape(released.shape[0], *released.shape[2:], 3)
                error = np.square(released.transpose(0, 2, 3, 1) - own.numpy()).mean((1, 2, 3))
                assert error == pytest.approx(s[first : first + len(released)].square().numpy(), rel=0.1)


def test_the_gaussian_prior_is_fitted_to_real_images_and_beats_the_clipped_observation(study):
    """The one prior here that was learned; without an upsampled or mis-scaled image it must win at strong noise."""
    name, copy, _ = study
    metrics = read(copy, "metrics", f"paper-{name}")
    mse = metrics[metrics["metric"] == "mse"].groupby(["attack", "mu"])["value"].mean()
    low = STUDIES[name][2][0]
    assert mse["wiener", low] < 0.7 * mse["raw", low]


@pytest.mark.parametrize(
    ("name", "millions", "channels", "gflop"),
    [("cifar10", 35.7, 3, 12.4), ("celebahq", 113.7, 3, 497), ("imagenet", 552.8, 6, 2240)],
)
def test_layouts_are_those_of_the_public_weights(name, millions, channels, gflop):
    """Parameters as published (143, 455 and 2,211 MB of float32); on the meta device, which computes nothing.

    The operations of a call are those that docs/paper-study.md names.
    """
    with torch.device("meta"), FlopCounterMode(display=False) as counted:
        network = architectures.network(name)
        side = architectures.LAYOUTS[name]["sample_size"]
        output = network(torch.empty(1, 3, side, side), torch.empty(1)).sample
    assert output.shape == (1, channels, side, side)
    assert counted.get_total_flops() == pytest.approx(gflop * 1e9, rel=0.005)
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(millions * 1e6, rel=0.01)
