"""The plan's numbers, counted by hand."""

import pytest

from vpaudit import config as configuration
from vpaudit import plan
from vpaudit.cli import main
from vpaudit.errors import VpauditError

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
}


def test_calls_hours_and_disk():
    config = configuration.resolve(STUDY)
    found = plan.plan(config, 50.0, (1, 28, 28))
    assert [plan.calls_of(a) for a in config.attacks] == [0, 2, 10, 80, 9, 21]
    assert found.calls == 122 * 100 * 2
    assert found.hours == pytest.approx(24_400 / 50 / 3600)
    assert found.job_hours == pytest.approx(found.hours / 2)
    arrays = 1 + 2 * (1 + 2 + 1 + 4 + 1 + 1)
    assert found.disk_gib == pytest.approx(arrays * 784 * 4 * 200 / 2**30)
    assert "24,400" in plan.text(found, 1)


def test_more_devices_than_jobs_do_not_help():
    found = plan.plan(configuration.resolve(STUDY), 50.0, (1, 28, 28))
    walls = [plan.text(found, n).splitlines()[4].split()[2] for n in (1, 2, 8)]
    assert float(walls[0]) == pytest.approx(2 * float(walls[1]), abs=0.011)
    assert walls[1] == walls[2]


def test_command_and_bad_speed(capsys):
    assert main(["plan"]) == 0
    assert "network calls" in capsys.readouterr().out
    assert main(["plan", "--calls-per-second", "0"]) == 2
    assert main(["plan", "--devices", "0"]) == 2
    with pytest.raises(VpauditError, match="must be > 0"):
        plan.plan(configuration.Config(), -1.0, (1, 2, 2))
