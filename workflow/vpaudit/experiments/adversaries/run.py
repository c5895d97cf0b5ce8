"""Four adversaries of one training, by what they see of its rounds, over epsilon, sampling rate and rounds."""

from dataclasses import dataclass

import pandas as pd
import torch

from vpaudit.attack import participation as rounds
from vpaudit.base.adversaries import ADVERSARIES
from vpaudit.base.pixels import per_image
from vpaudit.experiments.bench import Bench, progress
from vpaudit.privacy import accounting, adversaries
from vpaudit.privacy.mechanism import Mechanism, Observation

EPSILONS = (1.0, 8.0, 64.0, 256.0)
SAMPLED = ((0.01, 100), (0.01, 1000), (0.1, 1000))  # sample_rate, steps
SIMULATED = "participation_unknown"


@dataclass(frozen=True)
class Training:
    """epsilon is of the whole training, the noise multiplier of a round."""

    epsilon: float
    noise_multiplier: float
    sample_rate: float
    steps: int

    def mu(self, adversary: str) -> float:
        """What is worth as much, as one release."""
        return adversaries.mu(adversary, self.noise_multiplier, self.sample_rate, self.steps)


def run(bench: Bench) -> pd.DataFrame:
    """Columns epsilon, noise_multiplier, sample_rate, steps, adversary; by metric

    mu: what the rounds are worth as one release, of the simulated adversary image by image;
    template: the same with the image itself as template, the most that mu can be; mse: of the posterior mean;
    named: whether the image is named among all, of those who see every round, by their exact likelihood;
    bound: the most that ReRo allows `named` to be on average;
    across, along: mean square of the simulated adversary's error over the noise it claims, across the image and along
    it; bias: its error along the image, in units of that noise.
    """
    tables, delta = [], bench.config.mechanism.delta
    for epsilon in progress(EPSILONS, "adversaries"):
        for rate, steps in SAMPLED:
            noise = accounting.noise_multiplier_for_epsilon(epsilon, delta, rate, steps)
            training = Training(epsilon, noise, rate, steps)
            for name in ADVERSARIES:
                tables.append(bench.rows(_values(bench, training, name), adversary=name, **vars(training)))
    return pd.concat(tables, ignore_index=True)


def _values(bench: Bench, training: Training, name: str) -> dict[str, torch.Tensor]:
    if name == SIMULATED:
        return _simulated(bench, training)
    mu = training.mu(name)
    return {"mu": _same(bench, mu), "mse": _error(bench, bench.release(Mechanism(mu, bench.mechanism.max_grad_norm)))}


def _simulated(bench: Bench, training: Training) -> dict[str, torch.Tensor]:
    rule = Mechanism(1 / training.noise_multiplier, bench.mechanism.max_grad_norm)
    one, rate, count = bench.release(rule), training.sample_rate, len(bench.x)
    halves = rounds.halves(bench.x, one, training.steps, rate, bench.config.seed)
    seen = rounds.attack(halves, one, rate, lambda o: bench.posterior_mean(bench.within(o)))
    bound = adversaries.named(SIMULATED, training.noise_multiplier, rate, training.steps, count)
    return {
        "mu": rule.max_grad_norm / seen.sigma,
        "template": _same(bench, training.mu(SIMULATED)),
        "mse": _error(bench, seen),
        "named": (_likelihoods(halves, rate).argmax(dim=1) == torch.arange(count)).double(),
        "bound": _same(bench, bound),
        **_claimed(seen, per_image(seen.lam) * bench.x),
    }


def _claimed(seen: Observation, theta: torch.Tensor) -> dict[str, torch.Tensor]:
    """What y - theta is in units of the noise that `seen` claims, across theta and along it."""
    error, unit = ((t / per_image(scale)).flatten(1).double() for t, scale in (
        (seen.y - theta, seen.sigma), (theta, theta.flatten(1).norm(dim=1))))  # fmt: skip
    along = (error * unit).sum(1)
    across = (error.square().sum(1) - along.square()) / (error.shape[1] - 1)
    return {"across": across, "along": along.square(), "bias": along}


def _likelihoods(halves: tuple[rounds.Rounds, rounds.Rounds], rate: float) -> torch.Tensor:
    """float64 (B, n): log likelihood of all rounds of an image, if it were each of n = B candidates."""
    found = torch.zeros(len(halves[0].theta), len(halves[0].theta), dtype=torch.float64)
    for place, candidate in enumerate(halves[0].theta):
        for part in halves:
            product = part.project(candidate.expand_as(part.theta)) - candidate.square().sum() / 2
            odds = torch.logit(torch.tensor(rate, dtype=torch.float64)) + product / part.sigma**2
            found[:, place] += torch.nn.functional.softplus(odds).sum(dim=1)  # up to what is the same for all
    return found


def _error(bench: Bench, seen: Observation) -> torch.Tensor:
    return (bench.posterior_mean(bench.within(seen)) - bench.x).square().flatten(1).mean(dim=1)


def _same(bench: Bench, value: float) -> torch.Tensor:
    return torch.full((len(bench.x),), value)
