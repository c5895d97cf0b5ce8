"""From a training set-up to the mu at which images are attacked: of one round, of all rounds, a grid around them."""

from dataclasses import dataclass

import numpy as np

from vpaudit.base import checks
from vpaudit.base.errors import VpauditError
from vpaudit.privacy import accounting

STEPS = (1, 2, 5)  # of the grid, in each power of ten
NEAR = 1.25  # a step of the grid this near to a mu that was asked for is left out


@dataclass(frozen=True)
class Asked:
    """A mu the user asks about, what it means, and its epsilon if it were the whole release."""

    mu: float
    meaning: str
    epsilon: float


@dataclass(frozen=True)
class Setup:
    """The training as the user describes it, in every way.

    Attributes:
        budget: the whole training's, or None where only mu was given; delta: of every epsilon; asked: by rising mu.
    """

    budget: accounting.Budget | None
    delta: float
    asked: list[Asked]

    @property
    def steps(self) -> int:
        return self.budget.steps if self.budget else 1

    @property
    def sample_rate(self) -> float:
        return self.budget.sample_rate if self.budget else 1.0


def setup(
    *,
    epsilon: float | None = None,
    noise_multiplier: float | None = None,
    mu: list[float] | None = None,
    delta: float = 1e-5,
    steps: int = 1,
    sample_rate: float = 1.0,
) -> Setup:
    """A set-up from one of epsilon, noise_multiplier and mu.

    Args:
        epsilon: of the whole training; noise_multiplier: sigma / C of one step; mu: C / sigma of what is released of
            an image, one or several; steps, sample_rate: T and q of the training, for the first two.

    Raises:
        VpauditError: a number out of range, or steps with mu.
    """
    if mu is not None:
        if (steps, sample_rate) != (1, 1.0):
            raise VpauditError("--mu stands for all steps together", "give --noise-multiplier with --steps instead")
        checks.within(*accounting.MU_RANGE, mu=mu)
        checks.within(*accounting.DELTA_RANGE, delta=delta)
        return Setup(None, delta, [Asked(v, "as given", _epsilon(v, delta)) for v in sorted({_rounded(v) for v in mu})])
    budget = accounting.account(
        delta=delta, epsilon=epsilon, noise_multiplier=noise_multiplier, steps=steps, sample_rate=sample_rate
    )
    meanings = {1.0 / budget.noise_multiplier: "one round"}
    rounds = budget.steps * budget.sample_rate
    if budget.steps > 1 and budget.sample_rate < 1 and rounds > 1:
        text = f"the {rounds:,.0f} of {budget.steps:,} rounds in which an image takes part on average"
        meanings[np.sqrt(rounds) / budget.noise_multiplier] = text
    if budget.steps > 1:
        text = f"all {budget.steps:,} rounds, the image taking part in each"
        meanings[np.sqrt(budget.steps) / budget.noise_multiplier] = text
    asked = []
    for value, meaning in meanings.items():
        value = _rounded(value)
        asked.append(Asked(value, meaning, _epsilon(value, delta)))
    return Setup(budget, delta, sorted(asked, key=lambda a: a.mu))


def _epsilon(mu: float, delta: float) -> float:
    """epsilon of a mu; inf beyond what is verified, where it says nothing any more."""
    try:
        return float(accounting.epsilon_of_mu(mu, delta))
    except VpauditError:
        return float("inf")


def _rounded(value: float) -> float:
    """Four significant digits, as a mu is written in file names."""
    return float(f"{value:.4g}")


def measurable(norms: np.ndarray, max_grad_norm: float, sigma_range, delta: float) -> tuple[float, float]:
    """The smallest and largest mu that can be measured.

    There every image's noise s = max(|x|, C) / mu is in the prior's range, and epsilon in that of the accounting.

    Args:
        norms: |x| of the images, and what an adversary that is not told lambda takes it for.
    """
    reach = np.maximum(norms, max_grad_norm)
    most = float(accounting.mu_of_epsilon(accounting.EPSILON_RANGE[1], delta))
    return float(reach.max() / sigma_range[1]), min(float(reach.min() / sigma_range[0]), most)


def grid(asked: list[float], low: float, high: float) -> list[float]:
    """The mu that are asked for, as far as they can be measured, and steps of 1, 2, 5 around them; rising.

    The steps reach down to 0.2 or a quarter of the smallest asked, because success usually ends about there, and up to
    50 or twice the largest asked.
    """
    inside = [m for m in asked if low <= m <= high]
    bottom = max(low, min(0.2, min(asked) / 4))
    top = min(high, max(50.0, 2 * max(asked)))
    steps = [_rounded(m * 10.0**k) for k in range(-4, 4) for m in STEPS]
    around = [s for s in steps if bottom <= s <= top and all(max(s / m, m / s) > NEAR for m in inside)]
    return sorted({*inside, *around})
