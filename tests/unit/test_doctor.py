"""The doctor names what is wrong and does not die of it."""

import shutil

import pytest

from vpaudit.base import places
from vpaudit.commands import doctor
from vpaudit.commands.main import main
from vpaudit.study import config as configuration


def states(checks):
    return {check.name: check.state for check in checks}


@pytest.fixture
def copy(root, tmp_path, monkeypatch):
    """The parts of the repository that are examined, in place of the repository."""
    for path in places.files_of(root, (*places.WORKFLOW, "requirements.lock")):
        (tmp_path / path.relative_to(root)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / path.relative_to(root))
    monkeypatch.setattr(places, "SHIPPED", tmp_path)
    monkeypatch.setenv("VPAUDIT_HOME", str(tmp_path))
    return tmp_path


def test_this_repository_is_well(copy):
    found = states(doctor.examine(configuration.Config()))
    assert set(found) >= {"workflow", "working folder", "environment", "processor", "data", "prior", "LPIPS"}
    assert found["environment"] == found["data"] == found["Gaussian prior"] == found["LPIPS"] == "ok"
    assert "error" not in found.values()


def test_altered_weights_missing_data_and_wrong_packages_are_named(copy):
    weights = copy / "resources/priors/fashion_mnist_gaussian/gaussian.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"oops")
    lock = copy / "requirements.lock"
    lock.write_text("numpy==0.0.1 \\\n    --hash=sha256:00\nno-such-package==1.0 \\\n    --hash=sha256:00\n")
    config = configuration.resolve({"data": {"folder": str(copy / "nowhere")}})
    checks = {check.name: check for check in doctor.examine(config)}
    assert checks["Gaussian prior"].state == checks["data"].state == checks["environment"].state == "error"
    assert "its card says" in checks["Gaussian prior"].found
    assert "numpy" in checks["environment"].found
    assert "no-such-package missing" in checks["environment"].found
    text = doctor.report(list(checks.values()))
    assert "→ git checkout resources/priors" in text


def test_exit_code_says_whether_an_audit_can_run(copy, monkeypatch, capsys):
    monkeypatch.chdir(copy.parent)  # from any folder
    assert main(["doctor"]) == 0
    (copy / "resources/priors/fashion_mnist_dit/card.json").unlink()
    assert main(["doctor"]) == 0
    assert "has no card.json" in capsys.readouterr().out
    shutil.rmtree(copy / "resources/priors/fashion_mnist_dit")
    assert main(["doctor"]) == 2
    assert "not ready: prior" in capsys.readouterr().err
