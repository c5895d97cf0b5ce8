"""Filters against what theory gives, and a DP-SGD whose accounting does not depend on the filter."""

import numpy as np
import pytest
import torch

from vpaudit import data
from vpaudit.base import pixels
from vpaudit.base.randomness import generator
from vpaudit.experiments.dpsgd import training as dpsgd
from vpaudit.privacy import accounting

SHAPE = (1, 8, 8)


@pytest.fixture(scope="module")
def digits():
    """Training and test records of scikit-learn's digits."""
    found = []
    for split in ("train", "test"):
        loaded = data.load("digits", split)
        found.append((pixels.from_uint8(loaded.images), torch.from_numpy(loaded.labels.astype(np.int64))))
    return found


def test_clipped_gradients_are_those_of_autograd(digits):
    (images, labels), _ = digits
    model = dpsgd.logistic(SHAPE, 10, 0)
    rows = dpsgd.clipped_gradients(model, (images[:5], labels[:5]), 1e9)
    for k in range(5):
        model.zero_grad()
        torch.nn.functional.cross_entropy(model(images[k : k + 1]), labels[k : k + 1]).backward()
        want = torch.cat([p.grad.flatten() for p in model.parameters()])
        assert torch.allclose(rows[k], want, atol=1e-5)
    clipped = dpsgd.clipped_gradients(model, (images[:50], labels[:50]), 0.5)
    assert float(clipped.norm(dim=1).max()) <= 0.5 + 1e-5


class Recorder:
    """Keeps what it is given, passes it on."""

    def __init__(self):
        self.seen, self.sigmas = [], []

    def __call__(self, released, sigma, model):
        self.seen.append(released.clone())
        self.sigmas.append(sigma)
        return released


def test_released_gradients_are_the_clipped_mean_and_the_stated_noise(digits):
    """At lr 0 the model stays: releases of 300 steps have the sampled mean, and per-coordinate std sigma beyond it."""
    (images, labels), _ = digits
    model, recorder = dpsgd.logistic(SHAPE, 10, 0), Recorder()
    training = dpsgd.Training.within(epsilon=2.0, sample_rate=0.2, steps=300, lr=0.0, max_grad_norm=0.7)
    dpsgd.train(model, (images, labels), training, recorder, ("released",))
    seen = torch.stack(recorder.seen)
    rows = dpsgd.clipped_gradients(model, (images, labels), 0.7)
    assert torch.allclose(seen.mean(0), rows.mean(0), atol=6 * recorder.sigmas[0] / 300**0.5 + 0.002)
    sampling = (1 - 0.2) / 0.2 * rows.square().mean(0) / len(rows)
    want = (recorder.sigmas[0] ** 2 + sampling).mean().sqrt()
    assert float(seen.std(0).square().mean().sqrt()) == pytest.approx(float(want), rel=0.03)


@pytest.mark.parametrize("epsilon", [0.5, 8.0])
def test_the_budget_is_spent_and_not_more_whatever_the_filter(digits, epsilon):
    """Same noise multiplier, same steps, and an epsilon that dp-accounting confirms; filters see releases alone."""
    from dp_accounting import dp_event
    from dp_accounting.pld import PLDAccountant

    training = dpsgd.Training.within(epsilon=epsilon, steps=20)
    reports = []
    for gradient_filter in (dpsgd.plain, dpsgd.Kalman(0.3)):
        model = dpsgd.logistic(SHAPE, 10, 0)
        reports.append(dpsgd.train(model, digits[0], training, gradient_filter, ("budget",)))
    assert reports[0] == reports[1]
    event = dp_event.PoissonSampledDpEvent(0.1, dp_event.GaussianDpEvent(reports[0]["noise_multiplier"]))
    accountant = PLDAccountant()
    accountant.compose(dp_event.SelfComposedDpEvent(event, 20))
    assert accountant.get_epsilon(1e-5) == pytest.approx(epsilon, rel=0.01)
    assert accounting.epsilon_poisson(reports[0]["noise_multiplier"], 0.1, 20, 1e-5) == training.epsilon <= epsilon


def test_nothing_private_gets_into_a_filters_memory(digits):
    """The model's gradients are accumulated in place: what a filter keeps must not be where they are written."""

    class Keeper:
        """Returns the very tensor that it keeps, as a filter with a state does."""

        def __init__(self):
            self.kept, self.sure, self.intact = None, None, []

        def __call__(self, released, sigma, model):
            if self.kept is not None:
                self.intact.append(torch.equal(self.kept, self.sure))
            self.kept, self.sure = released, released.clone()
            return self.kept

    keeper = Keeper()
    dpsgd.train(
        dpsgd.logistic(SHAPE, 10, 0), digits[0], dpsgd.Training.within(epsilon=8.0, steps=6), keeper, ("keeper",)
    )
    assert keeper.intact == [True] * 5


def test_training_with_kalman_is_a_function_of_the_releases(digits):
    """Replayed outside of training from the recorded releases alone, it gives what the optimiser used."""

    class Both(Recorder):
        def __init__(self):
            super().__init__()
            self.kalman, self.used = dpsgd.Kalman(0.2), []

        def __call__(self, released, sigma, model):
            super().__call__(released, sigma, model)
            used = self.kalman(released, sigma, model)
            self.used.append(used.clone())
            return used

    both, replayed = Both(), dpsgd.Kalman(0.2)
    dpsgd.train(dpsgd.logistic(SHAPE, 10, 0), digits[0], dpsgd.Training.within(epsilon=2.0, steps=8), both, ("replay",))
    for released, used in zip(both.seen, both.used):
        assert torch.allclose(replayed(released, 0.0, None), used)


def test_runs_with_one_key_differ_by_their_filter_alone(digits):
    training = dpsgd.Training.within(epsilon=2.0, steps=5)
    first = Recorder()
    dpsgd.train(dpsgd.logistic(SHAPE, 10, 0), digits[0], training, first, ("same",))
    second = Recorder()
    dpsgd.train(dpsgd.logistic(SHAPE, 10, 0), digits[0], training, second, ("same",))
    other = Recorder()
    dpsgd.train(dpsgd.logistic(SHAPE, 10, 0), digits[0], training, other, ("another",))
    assert all(torch.equal(a, b) for a, b in zip(first.seen, second.seen))
    assert not torch.equal(first.seen[0], other.seen[0])


def test_filters_with_public_gradients_run_inside_training(digits):
    """Public gradients at the present parameters, taken while Opacus watches: the run's budget stays what it was."""
    (images, labels), test = digits
    public = images[:200], labels[:200]
    for make in (dpsgd.Wiener, lambda p: dpsgd.Subspace(p, 5)):
        gradients = dpsgd.PublicGradients(public, 1.0, batch=100, count=16, refresh=3, key=("public",))
        model = dpsgd.logistic(SHAPE, 10, 0)
        training = dpsgd.Training.within(epsilon=8.0, steps=12, lr=4.0)
        report = dpsgd.train(model, (images[200:], labels[200:]), training, make(gradients), ("inside",))
        assert report["noise_multiplier"] == training.noise_multiplier
        assert dpsgd.accuracy(model, test) > 0.3


def low_rank(count, rank=4, size=60, seed=0):
    rng = generator("low rank", seed)
    basis, _ = torch.linalg.qr(torch.randn(size, rank, generator=generator("basis"), dtype=torch.float64))
    scales = torch.linspace(2, 0.5, rank, dtype=torch.float64)
    rows = torch.randn(count, rank, generator=rng, dtype=torch.float64) * scales @ basis.T
    return rows + 0.05 * torch.randn(count, size, generator=rng, dtype=torch.float64), basis, scales


class Fixed:
    """Public gradients that are given."""

    def __init__(self, rows):
        self.parts = dpsgd.PublicGradients._decompose(rows)

    def update(self, model):
        return self.parts


def test_wiener_and_subspace_reach_the_error_of_the_true_covariance():
    """Gaussian gradients of rank 4 in 60 dimensions: error of the exact Wiener filter, k sigma^2 of a projection."""
    rows, _, scales = low_rank(400)
    fresh, _, _ = low_rank(4000, seed=1)
    sigma = 0.5
    noisy = fresh + sigma * torch.randn(fresh.shape, generator=generator("noise"), dtype=torch.float64)
    wiener = dpsgd.Wiener(Fixed(rows))
    got = torch.stack([wiener(y, sigma, None) for y in noisy])
    energy = torch.cat([scales**2 + 0.05**2, torch.full((56,), 0.05**2, dtype=torch.float64)])
    want = float((energy * sigma**2 / (energy + sigma**2)).sum())
    assert float((got - fresh).square().sum(1).mean()) == pytest.approx(want, rel=0.1)
    subspace = dpsgd.Subspace(Fixed(rows), 4)
    got = torch.stack([subspace(y, sigma, None) for y in noisy])
    assert float((got - fresh).square().sum(1).mean()) == pytest.approx(4 * sigma**2 + 56 * 0.05**2, rel=0.1)


def test_kalman_reaches_its_steady_state_variance():
    """Still signal: variance of the filtered state is k / (2 - k) sigma^2; gain 1 is plain."""
    noise = torch.randn(20_000, 3, generator=generator("kalman"), dtype=torch.float64)
    kalman = dpsgd.Kalman(0.2)
    states = torch.stack([kalman(1.0 + y, 1.0, None) for y in noise])[200:]
    assert torch.allclose(states.mean(0), torch.ones(3, dtype=torch.float64), atol=0.03)
    assert torch.allclose(states.var(0), torch.full((3,), 0.2 / 1.8, dtype=torch.float64), rtol=0.15)
    same = dpsgd.Kalman(1.0)
    assert all(torch.allclose(same(y, 1.0, None), y) for y in noise[:10])


def test_diffusion_lays_weights_out_as_images_and_scales_noise():
    seen = {}

    def denoise(x, sigma):
        seen["x"], seen["sigma"] = x, sigma
        return x / 2

    released = torch.arange(2 * 3 * 4 + 5).float()
    used = dpsgd.Diffusion(denoise, (2, 3, 4), scale=4.0)(released, 0.8, None)
    assert seen["x"].shape == (1, 2, 3, 4)
    assert float(seen["sigma"]) == pytest.approx(0.2)
    assert torch.allclose(used[:24], released[:24] / 2)
    assert torch.equal(used[24:], released[24:])


def test_training_learns_and_more_budget_learns_more(digits):
    accuracies = []
    for epsilon in (0.3, 8.0):
        model = dpsgd.logistic(SHAPE, 10, 0)
        dpsgd.train(model, digits[0], dpsgd.Training.within(epsilon=epsilon, steps=60, lr=2.0), dpsgd.plain, ("learn",))
        accuracies.append(dpsgd.accuracy(model, digits[1]))
    assert accuracies[1] > 0.8
    assert accuracies[1] > accuracies[0] + 0.02
