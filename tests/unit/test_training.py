"""The training rule: resumes exactly, learns, never sees a test image."""

import numpy as np
import pytest
import torch

from vpaudit.config import Training
from vpaudit.errors import VpauditError
from vpaudit.priors import card, network
from vpaudit.priors.train import Trainer, draw_sigmas, learning_rate
from vpaudit.rng import generator

TINY = Training(
    images_seen=32 * 12, batch_size=32, width=32, layers=1, heads=2, patch_size=2, warmup_steps=2,
    precision="float32", compile=False, ema_decay=0.5,
)  # fmt: skip


def data(count: int = 100):
    rng = generator("training test")
    return torch.rand((count, 1, 8, 8), generator=rng) * 2 - 1, torch.arange(count) % 10


def trainer(work, settings=TINY) -> Trainer:
    return Trainer(*data(), 10, settings, work)


def test_interrupted_and_resumed_equals_uninterrupted(tmp_path):
    whole = trainer(tmp_path / "a")
    whole.run()
    trainer(tmp_path / "b").run(until=5)
    second = trainer(tmp_path / "b")
    assert second.resume()
    assert second.step == 5
    second.run()
    for a, b in zip(whole.ema.module.state_dict().values(), second.ema.module.state_dict().values()):
        assert torch.allclose(a, b, atol=1e-5)


def test_another_runs_checkpoint_is_refused(tmp_path):
    trainer(tmp_path).run(until=1)
    other = trainer(tmp_path, TINY.model_copy(update={"lr": 0.5}))
    with pytest.raises(VpauditError, match="lr"):
        other.resume()
    assert other.resume(adopt=True)
    assert other.history == [{"step": 1, "lr": {"from": TINY.lr, "to": 0.5}}]


def test_each_epoch_visits_every_image_once(tmp_path):
    run = trainer(tmp_path)
    seen = []
    for run.step in range(3):
        seen += run.batch().tolist()
    assert len(set(seen)) == 96
    run.step = 3
    assert run.batch().tolist() != seen[:32]


def test_noise_levels_cover_the_range():
    sigmas = draw_sigmas(4096, Training(), generator("sigmas"))
    assert 0.02 <= sigmas.min() < 0.03
    assert 120 < sigmas.max() <= 150.01
    assert 0.5 < float(((sigmas > 0.15) & (sigmas < 8)).float().mean()) < 0.95


def test_learning_rate_warms_up_and_ends_low():
    rates = np.array([learning_rate(step, Training()) for step in range(Training().steps)])
    assert rates.argmax() in (149, 150)
    assert rates[0] < 0.01 * rates.max()
    assert rates[-1] == pytest.approx(0.02 * rates.max(), rel=0.01)


def test_training_learns_the_mean_of_constant_images(tmp_path):
    """All images alike: E[x0 | x] is that image at any noise."""
    settings = TINY.model_copy(update={"images_seen": 32 * 250, "ema_decay": 0.95, "lr": 3e-3})
    image = torch.linspace(-0.8, 0.8, 64).view(1, 1, 8, 8)
    run = Trainer(image.expand(64, 1, 8, 8).contiguous(), torch.zeros(64, dtype=torch.int64), 10, settings, tmp_path)
    run.run()
    x = torch.randn((16, 1, 8, 8), generator=generator("x")) * 5
    prior = network.NetworkPrior(run.ema.module, card.build_scheduler(), rows=16)
    assert (prior.denoise(x + image, torch.full((16,), 5.0)) - image).square().mean() < 0.02


def test_exported_prior_has_a_true_card(tmp_path):
    run = trainer(tmp_path / "work")
    run.run(until=6)
    card.export(run, tmp_path / "prior", data(20)[0], {"data": "toy"})
    loaded = network.load(tmp_path / "prior")
    assert loaded.num_classes == 10
    assert (loaded.sigma_min, loaded.sigma_max) == TINY.sigma_range
    from vpaudit import io

    written = io.read_json(tmp_path / "prior" / "card.json")
    assert written["images_seen"] == 6 * 32
    assert written["steps_planned"] == 12
    assert len(written["held_out_mse_by_sigma"]) == len(card.HELD_OUT_SIGMAS)
    assert (tmp_path / "prior" / "samples.png").stat().st_size > 500
