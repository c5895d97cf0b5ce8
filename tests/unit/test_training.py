"""The training rule: resumes exactly, learns, never sees a test image."""

import numpy as np
import pytest
import torch

from vpaudit.base.errors import VpauditError
from vpaudit.base.randomness import generator
from vpaudit.priors import card, network
from vpaudit.priors.batches import Labelled
from vpaudit.priors.gaussian import GaussianPrior
from vpaudit.priors.train import Trainer, draw_sigmas, learning_rate
from vpaudit.study.config import Training

TINY = Training(
    images_seen=32 * 12, batch_size=32, width=32, layers=1, heads=2, patch_size=2, warmup_steps=2,
    precision="float32", compile=False, ema_decay=0.5,
)  # fmt: skip


def data(count: int = 100):
    rng = generator("training test")
    return torch.rand((count, 1, 8, 8), generator=rng) * 2 - 1, torch.arange(count) % 10


def trainer(work, settings=TINY) -> Trainer:
    return Trainer(Labelled(*data(), 10, "cpu"), settings, work)


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
        seen += run.source.places(run.step, 32, 0).tolist()
    assert len(set(seen)) == 96
    assert run.source.places(3, 32, 0).tolist() != seen[:32]


def test_noise_levels_cover_the_range():
    sigmas = draw_sigmas(4096, Training(), generator("sigmas"))
    assert 0.02 <= sigmas.min() < 0.03
    assert 120 < sigmas.max() <= 150.01
    assert 0.5 < float(((sigmas > 0.15) & (sigmas < 8)).float().mean()) < 0.95


def test_learning_rate_warms_up_and_ends_low():
    steps = Training().steps
    rates = np.array([learning_rate(step, step / steps, Training()) for step in range(steps)])
    assert rates.argmax() in (148, 149, 150)
    assert rates[0] < 0.01 * rates.max()
    assert rates[-1] == pytest.approx(0.02 * rates.max(), rel=0.01)


def test_training_learns_the_mean_of_constant_images(tmp_path):
    """All images alike: E[x0 | x] is that image at any noise."""
    settings = TINY.model_copy(update={"images_seen": 32 * 250, "ema_decay": 0.95, "lr": 3e-3})
    image = torch.linspace(-0.8, 0.8, 64).view(1, 1, 8, 8)
    images, labels = image.expand(64, 1, 8, 8).contiguous(), torch.zeros(64, dtype=torch.int64)
    run = Trainer(Labelled(images, labels, 10, "cpu"), settings, tmp_path)
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
    from vpaudit.base import files

    written = files.read_json(tmp_path / "prior" / "card.json")
    assert written["images_seen"] == 6 * 32
    assert written["steps_planned"] == 12
    assert len(written["held_out_mse_by_sigma"]) == len(card.HELD_OUT_SIGMAS)
    assert (tmp_path / "prior" / "samples.png").stat().st_size > 500


RESIDUAL = TINY.model_copy(update={"architecture": "unet", "residual": True, "width": 16, "levels": 2})


def test_a_residual_prior_starts_as_the_gaussian(tmp_path):
    """Before the first step f = 0, so that E[x0 | x] is the Gaussian prior's of the training images, to the bit."""
    run = trainer(tmp_path, RESIDUAL)
    gaussian = GaussianPrior.fit(data()[0]).halved()
    x, sigma = torch.randn((5, 1, 8, 8), generator=generator("x")), torch.tensor([0.05, 0.5, 1.0, 5.0, 50.0])
    assert run.prior.shape == (1, 8, 8)
    assert torch.equal(run.prior.denoise(x, sigma), gaussian.denoise(x, sigma))


def test_a_residual_prior_learns_and_is_read_back(tmp_path):
    """Two-valued images, of which a Gaussian knows mean and variance alone; classes tell which of the two."""
    settings = RESIDUAL.model_copy(update={"images_seen": 32 * 200, "ema_decay": 0.95, "lr": 3e-3})
    signs = torch.where(torch.arange(64) % 2 == 0, 1.0, -1.0)
    x0 = signs.view(-1, 1, 1, 1) * torch.linspace(0.2, 0.8, 64).view(1, 1, 8, 8)
    run = Trainer(Labelled(x0, torch.arange(64) % 2, 2, "cpu"), settings, tmp_path / "work")
    run.run()
    card.export(run, tmp_path / "prior", x0[:16], {"data": "toy"})
    prior = network.load(tmp_path / "prior", rows=16)
    assert prior.shape == (1, 8, 8)
    assert prior.num_classes == 2
    assert torch.equal(prior.base.basis, run.prior.base.basis)
    x = x0 + 1.5 * torch.randn(x0.shape, generator=generator("noise"))
    sigma = torch.full((64,), 1.5)
    linear = (prior.base.denoise(x, sigma) - x0).square().mean()
    assert (prior.denoise(x, sigma) - x0).square().mean() < 0.95 * linear
    told = (prior.denoise(x, sigma, torch.arange(64) % 2) - x0).square().mean()
    assert told < 0.4 * linear
    base = run.prior.base
    other = network.NetworkPrior(run.average(), card.build_scheduler(), rows=16, fold=2, base=base, trust=prior.trust)
    assert torch.allclose(prior.denoise(x, sigma), other.denoise(x, sigma), atol=5e-3)  # weights are kept as float16
