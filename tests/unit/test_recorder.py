"""A recorded training is what happened: gradients recomputed from the batch, under every way of Opacus to clip."""

import itertools
import os
import signal
import stat
import subprocess
import sys
import textwrap

import pytest
import torch
from opacus import PrivacyEngine
from opacus.distributed import DifferentiallyPrivateDistributedDataParallel as DPDDP
from opacus.optimizers import AdaClipDPOptimizer, SimpleDistributedPerLayerOptimizer
from opacus.utils.batch_memory_manager import BatchMemoryManager
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from vpaudit.base.errors import VpauditError
from vpaudit.opacus import Recorder, Run
from vpaudit.opacus.clipped import ClippedGradient
from vpaudit.opacus.records import flat

IMAGES, CLASSES = torch.randn(24, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.arange(24) % 3


def network() -> nn.Module:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(8, 3))
    model[0].bias.requires_grad_(False)
    return model


def train(path, steps=3, physical=None, accumulate=1, every=1, record=True, **options):
    """Steps of a private training, recorded; the model, and the weights that each step began with."""
    torch.manual_seed(2)
    loader = DataLoader(TensorDataset(IMAGES, CLASSES), batch_size=8)
    model = network()
    criterion = nn.CrossEntropyLoss()
    parameters = list(model.parameters())[:: -1 if options.pop("reversed", False) else 1]
    ghost = {"grad_sample_mode": "ghost", "criterion": criterion} if options.pop("ghost", False) else {}
    made = PrivacyEngine().make_private(
        module=model, optimizer=torch.optim.SGD(parameters, lr=0.1), data_loader=loader,
        **{"noise_multiplier": 0.0, "max_grad_norm": 0.2} | options | ghost,
    )  # fmt: skip
    wrapped, optimizer, loader = made[0], made[1], made[-1]
    criterion = made[2] if ghost else criterion
    if record:
        Recorder(optimizer, path, every=every, loader=loader)
    if physical:
        loader = BatchMemoryManager(
            data_loader=loader, max_physical_batch_size=physical, optimizer=optimizer
        ).__enter__()
    done = 0
    for number, (x, y) in enumerate(itertools.chain.from_iterable(itertools.repeat(loader))):
        criterion(wrapped(x), y).backward()
        if (number + 1) % accumulate:
            continue
        optimizer.step()
        done += not optimizer._is_last_step_skipped
        optimizer.zero_grad()
        if done == steps:
            return model


def clipped_sum(run: Run, step: int, limits) -> torch.Tensor:
    """The batch's gradients at the recorded weights, clipped and summed."""
    released, batch, model = run.released(step), run.batch(step), network()
    model.load_state_dict(released.weights | run.fixed())
    return sum(ClippedGradient(model, y, limits)(x) for x, y in zip(batch.images, batch.labels.tolist())).double()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"ghost": True},
        {"clipping": "per_layer", "max_grad_norm": [0.2, 0.1, 0.05]},
        {"clipping": "per_layer", "max_grad_norm": [0.05, 0.1, 0.2], "reversed": True},
        {"physical": 3},
        {"physical": 3, "ghost": True},
        {"accumulate": 2, "poisson_sampling": False},  # Opacus refuses it with Poisson sampling
    ],
    ids=str,
)
def test_what_is_recorded_is_what_was_released(tmp_path, options):
    train(tmp_path / "run", **options)
    run = Run(tmp_path / "run")
    assert run.steps == [0, 1, 2]
    for step in run.steps:
        released, batch = run.released(step), run.batch(step)
        limits = [0.2, 0.1, 0.05] if "clipping" in options else 0.2  # in the order of the network
        expected = clipped_sum(run, step, limits)
        assert torch.allclose(released.noisy_sum(), expected, atol=1e-6)
        assert released.setting.divisor == 8 * options.get("accumulate", 1)
        assert released.setting.sample_rate == pytest.approx(options.get("accumulate", 1) / 3)
        assert released.setting.history[-1][2] == step + 1
        if "accumulate" in options:
            assert batch.indices is None  # they are those of the last batch alone
        else:
            assert torch.equal(batch.images, IMAGES[batch.indices])
            assert torch.equal(batch.labels, CLASSES[batch.indices])
        assert batch.norms.shape == ((len(batch.images), 3) if "clipping" in options else (len(batch.images),))


def test_the_norms_are_those_before_clipping_and_ghost_clipping_agrees(tmp_path):
    train(tmp_path / "flat", steps=1)
    train(tmp_path / "ghost", steps=1, ghost=True)
    plain, ghost = (Run(tmp_path / name).batch(0) for name in ("flat", "ghost"))
    assert torch.allclose(plain.norms, ghost.norms, rtol=1e-5)
    gradient = ClippedGradient(network(), int(plain.labels[0]), 0.2)
    assert float(plain.norms[0]) == pytest.approx(float(gradient.raw(plain.images[0]).norm()), rel=1e-5)


def test_a_recorder_changes_nothing_of_the_training(tmp_path):
    seen = train(tmp_path / "run", noise_multiplier=1.0)
    alone = train(tmp_path / "none", noise_multiplier=1.0, record=False)
    assert all(torch.equal(a, b) for a, b in zip(seen.parameters(), alone.parameters()))


def test_every_and_noise(tmp_path):
    train(tmp_path / "run", steps=5, every=2, noise_multiplier=50.0)
    run = Run(tmp_path / "run")
    assert run.steps == [0, 2, 4]
    released = run.released(2)
    assert released.setting.sigma == pytest.approx(10.0)
    noise = released.noisy_sum() - clipped_sum(run, 2, 0.2)
    assert 6 < float(noise.std()) < 14
    assert flat(released.weights).shape == noise.shape


def test_epsilon_is_taken_too(tmp_path):
    model = network()
    wrapped, optimizer, _ = PrivacyEngine().make_private_with_epsilon(
        module=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        data_loader=DataLoader(TensorDataset(IMAGES, CLASSES), batch_size=8),
        target_epsilon=8.0, target_delta=1e-2, epochs=1, max_grad_norm=1.0,
    )  # fmt: skip
    Recorder(optimizer, tmp_path / "run")
    nn.functional.cross_entropy(wrapped(IMAGES[:8]), CLASSES[:8]).backward()
    optimizer.step()
    assert Run(tmp_path / "run").released(0).setting.noise_multiplier == optimizer.noise_multiplier


def test_only_the_owner_reads_images(tmp_path):
    train(tmp_path / "run", steps=1)
    modes = {path.parent.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("step-*")}
    assert modes["private"] == 0o600
    seen = (tmp_path / "run" / "released" / "step-00000000.safetensors").read_bytes()
    assert IMAGES[0].numpy().tobytes() not in seen


def train_in_processes(rank: int, path: str, ghost: bool):
    """Two steps of one of two processes, each with its own half of every batch."""
    torch.distributed.init_process_group("gloo", f"file://{path}.rendezvous", rank=rank, world_size=2)
    torch.manual_seed(2)
    model, criterion = DPDDP(network()), nn.CrossEntropyLoss()
    how = {"grad_sample_mode": "ghost", "criterion": criterion} if ghost else {}
    made = PrivacyEngine().make_private(
        module=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.1), noise_multiplier=0.0, max_grad_norm=0.2,
        data_loader=DataLoader(TensorDataset(IMAGES, CLASSES), batch_size=8), **how,
    )  # fmt: skip
    wrapped, optimizer, loader = made[0], made[1], made[-1]
    criterion = made[2] if ghost else criterion
    Recorder(optimizer, path, every=1, loader=loader)
    for _, (x, y) in zip(range(2), loader):
        optimizer.zero_grad()
        criterion(wrapped(x), y).backward()
        optimizer.step()
    torch.save(model.module.state_dict(), f"{path}.{rank}")
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("ghost", [False, True])
def test_of_several_processes_the_sum_is_recorded(tmp_path, ghost):
    path = tmp_path / "run"
    torch.multiprocessing.spawn(train_in_processes, (str(path), ghost), nprocs=2)
    run = Run(path)
    assert run.steps == [0, 1]
    for step in run.steps:
        released, batch = run.released(step), run.batch(step)
        assert released.setting.divisor == 8
        assert released.setting.sample_rate == pytest.approx(1 / 3)
        assert len(set(batch.indices.tolist())) == len(batch.indices) == len(batch.norms)
        assert torch.equal(batch.images, IMAGES[batch.indices])
        assert torch.allclose(released.noisy_sum(), clipped_sum(run, step, 0.2), atol=1e-6)
    first, last = torch.load(f"{path}.0"), run.released(1)
    for name, weight in last.weights.items():  # what was released is what moved the weights
        assert torch.allclose(first[name], weight - 0.1 * last.gradient[name], atol=1e-7)


@pytest.mark.parametrize("kind", [SimpleDistributedPerLayerOptimizer, AdaClipDPOptimizer])
def test_what_cannot_be_recorded_rightly_is_refused_by_name(tmp_path, kind):
    with pytest.raises(VpauditError, match=kind.__name__):
        Recorder(object.__new__(kind), tmp_path / "run")


def test_a_folder_that_holds_a_run_is_not_written_over(tmp_path):
    train(tmp_path / "run", steps=1)
    with pytest.raises(VpauditError, match="already holds"):
        train(tmp_path / "run", steps=1)


def test_the_disk_is_stated_and_too_little_refused(tmp_path, capsys, monkeypatch):
    train(tmp_path / "run", steps=1)
    assert "MB a record" in capsys.readouterr().err
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Disk", (), {"free": 10}))
    with pytest.raises(VpauditError, match="needs"):
        train(tmp_path / "full", steps=1)
    assert not (tmp_path / "full" / "run.json").exists()


def test_passes_that_are_not_of_the_step_leave_its_images_out(tmp_path):
    model = network()
    wrapped, optimizer, _ = PrivacyEngine().make_private(
        module=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.1), noise_multiplier=1.0, max_grad_norm=1.0,
        data_loader=DataLoader(TensorDataset(IMAGES, CLASSES), batch_size=8),
    )  # fmt: skip
    Recorder(optimizer, tmp_path / "run")
    nn.functional.cross_entropy(wrapped(IMAGES[:3]), CLASSES[:3]).backward()
    optimizer.zero_grad()  # thrown away
    nn.functional.cross_entropy(wrapped(IMAGES[:8]), CLASSES[:8]).backward()
    optimizer.step()
    batch = Run(tmp_path / "run").batch(0)
    assert batch.images is None
    assert len(batch.norms) == 8


def test_a_killed_run_leaves_every_record_readable(tmp_path):
    code = f"""
        import os, signal
        from safetensors import torch as files
        from test_recorder import train
        import vpaudit.opacus.records as records
        save, count = records.save_file, [0]
        def dying(tensors, path, about=None):
            count[0] += 1
            if count[0] == 7:  # in the midst of a file of the fourth step
                open(path, "wb").write(b"half")
                os.kill(os.getpid(), signal.SIGKILL)
            save(tensors, path, about)
        records.save_file = dying
        train({str(tmp_path / "run")!r}, steps=9)
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path])}
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], env=environment, capture_output=True)
    assert done.returncode == -signal.SIGKILL
    run = Run(tmp_path / "run")
    assert run.steps == [0, 1, 2] or run.steps == [0, 1]
    for step in run.steps:
        assert torch.allclose(run.released(step).noisy_sum(), clipped_sum(run, step, 0.2), atol=1e-6)


def test_a_damaged_record_is_named(tmp_path):
    train(tmp_path / "run", steps=1)
    place = tmp_path / "run" / "released" / "step-00000000.safetensors"
    place.write_bytes(place.read_bytes()[:100])
    with pytest.raises(VpauditError, match="step-00000000"):
        Run(tmp_path / "run").released(0)
    with pytest.raises(VpauditError, match="no recorded training"):
        Run(tmp_path)
