"""The plan's numbers, counted by hand."""

import pytest

from vpaudit import data
from vpaudit.base.errors import VpauditError
from vpaudit.commands import plan
from vpaudit.commands.main import main
from vpaudit.study import config as configuration

STUDY = {
    "data": {"images": 100},
    "mechanism": {"mu": [1, 10]},
    "attacks": [
        {"name": "raw", "kind": "raw"},
        {"name": "mean", "kind": "posterior_mean", "conditioning": ["unconditional", "true_class"]},
        {"name": "ddim", "kind": "ddim", "steps": 10},
        {"name": "draws", "kind": "multistep", "steps": 20, "eta": 1.0, "draws": 4},
        {"name": "heun", "kind": "heun", "steps": 5},
        {"name": "blind", "kind": "posterior_mean", "knowledge": {"sigma": "prior"}},
    ],
    "success": {"references": []},
}


def test_calls_hours_and_disk():
    config = configuration.resolve(STUDY)
    found = plan.plan(config, 50.0, (1, 28, 28))
    assert [run.calls for run in plan.runs(config)] == [0, 2, 10, 80, 9, 21]
    assert found.calls == 122 * 100 * 2
    assert found.hours == pytest.approx(24_400 / 50 / 3600)
    assert found.job_hours == pytest.approx(found.hours / 2)
    observations, outputs, checkpoints = 1, 1 + 2 + 1 + 4 + 1 + 1, 1 + 2 + 1 + 4 + 1 + 1
    arrays = (observations + outputs + checkpoints) * 784 * 4 * 200
    assert found.disk_gib == pytest.approx((arrays + 784 * 100) / 2**30)  # and the targets, in bytes
    pairs = (1 + 4) + 2 * (1 + 4) + (1 + 4) + (6 + 4 + 4) + (1 + 4) + (1 + 4)  # among draws, target, four others
    assert found.comparisons == 100 * (2 * pairs + 4 + 1)  # and without a release: four others, the mean image
    assert "24,400" in plan.text(found, 1)


def test_releases_without_the_target_and_public_images_count():
    """Two references of four draws: of the posterior mean told no class, of DDIM ten steps."""
    bare = configuration.resolve(STUDY)
    more = configuration.resolve({**STUDY, "success": {"draws": 4, "attacks": ["mean", "ddim"]}})
    a, b = (plan.plan(config, 50.0, (1, 28, 28)) for config in (bare, more))
    assert b.calls - a.calls == 2 * 4 * (1 + 10) * 100 * 2
    assert b.comparisons - a.comparisons == 2 * 4 * (1 + 1) * 100 * 2
    assert b.disk_gib - a.disk_gib == pytest.approx(2 * 2 * 4 * (1 + 1) * 784 * 4 * 200 / 2**30)
    told = {"name": "norm", "kind": "given_norm"}
    public = configuration.resolve({**STUDY, "attacks": [*STUDY["attacks"], told]})
    c = plan.plan(public, 50.0, (1, 28, 28))
    assert c.calls - a.calls == (100 + 256) * 2
    assert c.jobs - a.jobs == 1


def test_shards_are_jobs_of_their_own_and_stored_small():
    whole = configuration.resolve(STUDY)
    cut = configuration.resolve({**STUDY, "jobs": {"images_per_job": 30, "store": "uint8", "keep_checkpoints": False}})
    a, b = (plan.plan(config, 50.0, (1, 28, 28)) for config in (whole, cut))
    assert (a.network_jobs, b.network_jobs) == (2, 8)  # 30, 30, 30 and 10 images at two mu
    assert b.job_hours == pytest.approx(0.3 * a.job_hours)
    assert (a.calls, a.hours) == (b.calls, b.hours)
    assert b.disk_gib == pytest.approx(784 * 100 * (1 + 2 * (4 + 10)) / 2**30)


def test_more_devices_than_jobs_do_not_help():
    found = plan.plan(configuration.resolve(STUDY), 50.0, (1, 28, 28))
    walls = [float(plan.text(found, n).split("about")[1].split()[0]) for n in (1, 2, 8)]
    assert walls[0] - walls[1] == pytest.approx(60 * found.hours / 2, abs=1.01)
    assert walls[1] == walls[2]


def test_a_small_audit_takes_minutes_and_not_nothing():
    """Six images are a batch of 64, and each job starts Python anew."""
    config = configuration.resolve(
        {
            "data": {"images": 6},
            "mechanism": {"mu": [1, 2, 5, 10, 20, 50]},
            **{k: STUDY[k] for k in ("attacks", "success")},
        }
    )
    found = plan.plan(config, 600.0, (1, 28, 28))
    jobs = 3 * 6 + plan.FIXED_JOBS
    assert found.jobs == jobs
    filled = 6 * 64 * 122 / 600
    assert 3600 * (found.hours + found.other_hours) == pytest.approx(filled + plan.JOB_SECONDS * jobs)


DOCUMENTED = {  # calls per second of docs/paper-study.md's table
    "CIFAR-10": ((), 3200.0), "CelebA-HQ 256": (("celebahq",), 80.0), "ImageNet 256": (("imagenet",), 18.0),
}  # fmt: skip


@pytest.mark.parametrize("study", list(DOCUMENTED))
def test_the_documents_numbers_are_the_plans(root, study):
    overlays, speed = DOCUMENTED[study]
    config = configuration.load(root / "config/paper.yaml", *(root / f"config/paper/{name}.yaml" for name in overlays))
    found = plan.plan(config, speed, tuple(data.card(config.data.name)["shape"]))
    row = next(
        line for line in (root / "docs/paper-study.md").read_text().splitlines() if line.startswith(f"| {study} |")
    )
    assert [cell.strip() for cell in row.strip("|").split("|")][1:] == [
        f"{found.jobs:,}", f"{found.network_jobs}", f"{found.calls:,}", f"{found.hours:.2f}",
        f"{60 * found.job_hours:.1f}", f"{found.disk_gib:.2f}",
    ]  # fmt: skip
    assert 5 < 60 * found.job_hours < 30


def test_command_and_bad_speed(capsys):
    assert main(["plan"]) == 0
    assert "of the network" in capsys.readouterr().out
    assert main(["plan", "--calls-per-second", "0"]) == 2
    assert main(["plan", "--devices", "0"]) == 2
    with pytest.raises(VpauditError, match="must be > 0"):
        plan.plan(configuration.Config(), -1.0, (1, 2, 2))
