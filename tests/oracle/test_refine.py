"""Few-step solvers refined by gradient: better where it counts, on images and noise that were not used."""

import json
import shutil

import numpy as np
import pytest
import torch
from mixture import MixturePrior

from vpaudit.base.randomness import generator
from vpaudit.priors.gaussian import GaussianPrior
from vpaudit.sampling import few_step, few_step_refine
from vpaudit.stages import priors as stage
from vpaudit.study import config

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

    (plan,), _ = few_step.fit(prior.denoise, closed, images, GRID, [3], noise, evaluations=0, report=lambda text: None)
    other = prior.sample(96, generator("held out"))[0].clamp(-1, 1)
    fine = np.geomspace(0.6, 18, 6)
    return (
        prior,
        closed,
        plan,
        few_step_refine.Pool.of(prior.denoise, images, fine, 1),
        few_step_refine.Pool.of(prior.denoise, other, fine * 1.05, 2),
    )


def test_what_is_learned_starts_as_the_plan_and_comes_back_as_one(known):
    prior, closed, plan, pool, _ = known
    scale = few_step_refine.whitening(prior.denoise, closed, plan, pool.clean[0][:16], 0)
    solver = few_step_refine.Solver(plan, scale)
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
    assert (wild[:, :-1] >= few_step.LOWEST * (1 - 1e-9)).all()


def test_it_comes_closer_to_the_converged_output_on_what_it_has_not_seen(known):
    prior, closed, plan, pool, judge = known
    better, taken = few_step_refine.refine(
        prior.denoise, closed, plan, pool, 60, groups=4, per_group=32, report=lambda text: None
    )
    assert taken == 60
    before, after = (few_step_refine.assess(prior.denoise, closed, p, judge) for p in (plan, better))
    distance = [np.mean([row["distance"] for row in rows]) for rows in (before, after)]
    assert distance[1] < 0.9 * distance[0]
    off = [np.mean([abs(row["mse"] - 1) + abs(row["ssim"] - 1) for row in rows]) for rows in (before, after)]
    assert off[1] < off[0]


def test_identical_outputs_are_at_no_distance_and_every_ratio_is_one(known):
    *_, judge = known
    end, clean = judge.end[:2].flatten(0, 1), judge.clean[:2].flatten(0, 1)
    found = few_step_refine.judged(end, end, clean, 2)
    assert float(found["distance"].max()) < 2e-5
    for name in ("mse", "ssim", "details"):
        assert torch.allclose(found[name], torch.ones_like(found[name]))
    smoother = torch.nn.functional.avg_pool2d(end, 3, 1, 1)
    assert (few_step_refine.judged(smoother, end, clean, 2)["details"] < 1).all()


def test_the_command_refines_what_is_there_and_says_how_it_did(root, tmp_path, monkeypatch):
    folder = tmp_path / "prior"
    shutil.copytree(root / "resources/priors/fashion_mnist_dit", folder)
    content = json.loads((folder / few_step.FILE).read_text())
    content["plans"] = {"3": content["plans"]["3"]}
    (folder / few_step.FILE).write_text(json.dumps(content))
    monkeypatch.setattr(stage, "REFINED", {"images": 4, "held_out": 2, "noises": 2})
    monkeypatch.setattr(few_step_refine, "GROUPS", (2, 2))
    study = config.load(root / "config/config.yaml")
    stage.refine_few_step(study, folder, 2, "cpu")
    after = json.loads((folder / few_step.FILE).read_text())
    assert after["refined"]["steps"] == {"3": 2}
    assert after["rmse"] == content["rmse"]
    rows = after["refined"]["held_out"]["3"]
    assert {*rows[0]["before"]} == {"sigma", "distance", "mse", "ssim", "details"}
    assert few_step.load(folder)[3].coefficients.shape == (14, 3, 9)
    assert after["plans"]["3"]["coefficients"] != content["plans"]["3"]["coefficients"]
