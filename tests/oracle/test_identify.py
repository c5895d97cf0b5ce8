"""Bounds validated by attack: on real images through real releases, nobody names the target more often than gamma."""

import numpy as np
import pytest
import torch
from scipy.stats import binom
from torch import nn

from vpaudit import data
from vpaudit.attack import candidates as identify
from vpaudit.base import pixels
from vpaudit.base.randomness import generator
from vpaudit.privacy import rero
from vpaudit.privacy.mechanism import Mechanism, release_analytic, release_opacus


@pytest.fixture(scope="module")
def fashion():
    """Images and labels of the shipped test subset of Fashion-MNIST."""
    loaded = data.load("fashion_mnist", "test")
    return pixels.from_uint8(loaded.images), torch.from_numpy(loaded.labels.astype(np.int64))


def not_above(successes: int, trials: int, bound: float) -> bool:
    """Whether the count is no evidence (at 1 in 1,000) of a success rate above the bound."""
    return binom.sf(successes - 1, trials, bound) > 1e-3


@pytest.mark.parametrize("mu", [0.5, 1.0, 2.0, 3.0])
def test_matched_filter_on_orthogonal_candidates_reaches_its_prediction(mu):
    """500 one-hot images of norm 1: the exact success E[Phi(Z + mu)^(n-1)], 4,000 releases."""
    candidates = torch.eye(500).view(500, 1, 20, 25)
    picks = torch.randint(500, (4000,), generator=generator("picks", mu))
    seen = release_analytic(
        candidates[picks], torch.arange(4000), picks, Mechanism(mu), "orthogonal", 0
    )  # fmt: skip
    hits = int((identify.matched_filter(seen.y, candidates, Mechanism(mu)) == picks).sum())
    expected = float(rero.matched_filter_success(mu, 500))
    assert hits / 4000 == pytest.approx(expected, abs=4 * (expected * (1 - expected) / 4000) ** 0.5)
    assert not_above(hits, 4000, float(rero.gamma_of_mu(mu, 1 / 500)))


@pytest.mark.parametrize("mu", [1.0, 3.0, 10.0])
def test_matched_filter_on_real_images_stays_below_the_bound(fashion, mu):
    """1,000 real images are much alike, so it stays below the orthogonal prediction too; and it does find some."""
    candidates = fashion[0][:1000]
    seen = release_analytic(candidates, torch.arange(1000), fashion[1][:1000], Mechanism(mu), "fashion", 0)
    hits = int((identify.matched_filter(seen.y, candidates, Mechanism(mu)) == torch.arange(1000)).sum())
    assert not_above(hits, 1000, float(rero.gamma_of_mu(mu, 1 / 1000)))
    assert not_above(hits, 1000, float(rero.matched_filter_success(mu, 1000)))
    if mu >= 3:
        assert hits > 10  # guessing finds one


def test_the_opacus_release_is_no_easier(fashion):
    candidates = fashion[0][:200]
    seen = release_opacus(candidates, torch.arange(200), fashion[1][:200], Mechanism(6.0), "fashion", 0)
    hits = int((identify.matched_filter(seen.y, candidates, Mechanism(6.0)) == torch.arange(200)).sum())
    assert not_above(hits, 200, float(rero.gamma_of_mu(6.0, 1 / 200)))
    assert hits > 20


def network(seed):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 10), nn.ELU(), nn.Linear(10, 10))


@pytest.mark.parametrize("mu", [1.0, 3.0])
def test_gradient_attack_on_a_training_run_stays_below_the_bound(fashion, mu):
    """Hayes et al.'s set-up (Linear-ELU-Linear, n = 8, all steps full-batch), 120 runs of 10 steps."""
    images, labels = fashion
    trials, n, steps = 120, 8, 10
    hits = 0
    for trial in range(trials):
        order = torch.randperm(len(images), generator=generator("trial", trial))[: n + 4]
        mine, rest = order[:n], order[n:]
        run = identify.gradient_attack(
            network(trial), (images[mine], labels[mine]), (images[rest], labels[rest]), trial % n,
            Mechanism(mu / steps**0.5), steps, 0.05, ("run", mu, trial),
        )  # fmt: skip
        hits += run.named
    gamma = float(rero.gamma_of_mu(mu, 1 / n))
    assert not_above(hits, trials, gamma)
    assert binom.sf(hits - 1, trials, 1 / n) < 1e-3  # it does better than guessing
    assert hits / trials > 0.6 * float(rero.matched_filter_success(mu, n))


def test_known_records_are_really_subtracted(fashion):
    """Without noise the residual is the target's own clipped gradient, so its score is the greatest."""
    images, labels = fashion
    run = identify.gradient_attack(
        network(0), (images[:5], labels[:5]), (images[10:40], labels[10:40]), 3, Mechanism(1e6), 1, 0.0, ("clean",)
    )
    assert run.named
    assert float(run.scores[3]) == pytest.approx(0.5, abs=1e-3)  # C^2 - C^2 / 2
