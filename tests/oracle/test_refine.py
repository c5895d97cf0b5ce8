"""Few-step solvers refined by gradient: better where it counts, on images and noise that were not used."""

import json
import shutil

import numpy as np
import pytest
import torch

from vpaudit import config, fewstep, refine
from vpaudit.priors.gaussian import GaussianPrior
from vpaudit.priors.mixture import MixturePrior
from vpaudit.rng import generator
from vpaudit.stages import images as stage

SHAPE = (1, 12, 12)  # SSIM's window is 11 pixels wide
GRID = np.geomspace(0.5, 20, 4)


def gaussian(key: int) -> GaussianPrior:
    rng = generator("refine test", key)
    root = torch.randn(144, 144, generator=rng) * torch.linspace(0.5, 0.02, 144) / 6
    variances, basis = torch.linalg.eigh(root @ root.T)
    return GaussianPrior((torch.randn(SHAPE, generator=rng) * 0.4), basis, variances)


@pytest.fixture(scope="module")
def known():
    """(prior, Gaussian prior of its images, a solver of three calls, pool to learn from, pool to judge by)."""
    prior = MixturePrior([gaussian(1), gaussian(2), gaussian(3)], torch.tensor([0.5, 0.3, 0.2]))
    images = prior.sample(96, generator("refine images"))[0].clamp(-1, 1)
    closed = GaussianPrior.fit(prior.sample(400, generator("more images"))[0])

    def noise(sigma):
        return torch.randn(images.shape, generator=generator("refine", sigma))

    (plan,), _ = fewstep.fit(prior.denoise, closed, images, GRID, [3], noise, evaluations=0, report=lambda text: None)
    other = prior.sample(96, generator("held out"))[0].clamp(-1, 1)
    fine = np.geomspace(0.6, 18, 6)
    return (
        prior,
        closed,
        plan,
        refine.Pool.of(prior.denoise, images, fine, 1),
        refine.Pool.of(prior.denoise, other, fine * 1.05, 2),
    )


def test_what_is_learned_starts_as_the_plan_and_comes_back_as_one(known):
    prior, closed, plan, pool, _ = known
    scale = refine.whitening(prior.denoise, closed, plan, pool.clean[0][:16], 0)
    solver = refine.Solver(plan, scale)
    start = torch.from_numpy(np.geomspace(0.4, 25, 9)).float()
    for mine, theirs in zip(solver.at(start), plan.at(start)):
        assert torch.allclose(mine, theirs, rtol=1e-4, atol=1e-6)
    again = solver.plan(plan.sigmas)
    assert np.allclose(again.levels, plan.levels)
    assert np.allclose(again.coefficients, plan.coefficients)
    with torch.no_grad():
        solver.drops += torch.tensor([0.5, 3.0, -9.0])  # out of order, above the start, below the lowest level
    wild = solver.plan(plan.sigmas).levels
    assert (np.diff(wild) <= 0).all()
    assert (wild[:, 0] <= plan.sigmas * (1 + 1e-9)).all()
    assert (wild[:, :-1] >= fewstep.LOWEST * (1 - 1e-9)).all()


def test_it_comes_closer_to_the_converged_output_on_what_it_has_not_seen(known):
    prior, closed, plan, pool, judge = known
    better, taken = refine.refine(
        prior.denoise, closed, plan, pool, 60, groups=4, per_group=32, report=lambda text: None
    )
    assert taken == 60
    before, after = (refine.assess(prior.denoise, closed, p, judge) for p in (plan, better))
    distance = [np.mean([row["distance"] for row in rows]) for rows in (before, after)]
    assert distance[1] < 0.9 * distance[0]
    off = [np.mean([abs(row["mse"] - 1) + abs(row["ssim"] - 1) for row in rows]) for rows in (before, after)]
    assert off[1] < off[0]


def test_identical_outputs_are_at_no_distance_and_every_ratio_is_one(known):
    *_, judge = known
    end, clean = judge.end[:2].flatten(0, 1), judge.clean[:2].flatten(0, 1)
    found = refine.judged(end, end, clean, 2)
    assert float(found["distance"].max()) < 2e-5
    for name in ("mse", "ssim", "details"):
        assert torch.allclose(found[name], torch.ones_like(found[name]))
    smoother = torch.nn.functional.avg_pool2d(end, 3, 1, 1)
    assert (refine.judged(smoother, end, clean, 2)["details"] < 1).all()


def test_the_command_refines_what_is_there_and_says_how_it_did(root, tmp_path, monkeypatch):
    folder = tmp_path / "prior"
    shutil.copytree(root / "resources/priors/fashion_mnist_dit", folder)
    content = json.loads((folder / fewstep.FILE).read_text())
    content["plans"] = {"3": content["plans"]["3"]}
    (folder / fewstep.FILE).write_text(json.dumps(content))
    monkeypatch.setattr(stage, "REFINED", {"images": 4, "held_out": 2, "noises": 5})
    monkeypatch.setattr(refine, "GROUPS", (2, 2))
    study = config.load(root / "config/config.yaml")
    stage.refine_few_step(study, folder, 2, "cpu")
    after = json.loads((folder / fewstep.FILE).read_text())
    assert after["refined"]["steps"] == {"3": 2}
    assert after["rmse"] == content["rmse"]
    rows = after["refined"]["held_out"]["3"]
    assert {*rows[0]["before"]} == {"sigma", "distance", "mse", "ssim", "details"}
    assert fewstep.load(folder)[3].coefficients.shape == (14, 3, 9)
    assert after["plans"]["3"]["coefficients"] != content["plans"]["3"]["coefficients"]
