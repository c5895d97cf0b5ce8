"""From a training set-up to the mu at which images are attacked: of each adversary of it, a grid around them."""

from dataclasses import dataclass, replace

import numpy as np

from vpaudit.base import checks
from vpaudit.base.adversaries import ADVERSARIES
from vpaudit.base.errors import VpauditError
from vpaudit.privacy import accounting, adversaries

STEPS = (1, 2, 5)  # of the grid, in each power of ten
NEAR = 1.25  # a step of the grid this near to a mu that was asked for is left out


@dataclass(frozen=True)
class Asked:
    """A mu the user asks about, what it means, and its epsilon if it were the whole release.

    Attributes:
        adversary: of `ADVERSARIES` who has it, "" where a mu was given; training: number of its budget.
    """

    mu: float
    meaning: str
    epsilon: float
    adversary: str = ""
    training: int = 0


@dataclass(frozen=True)
class Setup:
    """The training as the user describes it, in every way.

    Attributes:
        budgets: of the whole training, by falling noise; none where only mu was given. They differ in noise alone.
        delta: of every epsilon; asked: by rising mu. adversary: of `ADVERSARIES`, whom the noise recommended is
            to stop.
    """

    budgets: list[accounting.Budget]
    delta: float
    asked: list[Asked]
    adversary: str = "participation_unknown"

    @property
    def steps(self) -> int:
        return self.budgets[0].steps if self.budgets else 1

    @property
    def sample_rate(self) -> float:
        return self.budgets[0].sample_rate if self.budgets else 1.0

    @property
    def simulated(self) -> list[float]:
        """Noise multipliers of trainings in which an adversary may see all rounds and not know its part in them."""
        return [b.noise_multiplier for b in self.budgets] if self.steps > 1 and self.sample_rate < 1 else []

    @property
    def noise_for(self) -> tuple[str, ...]:
        """Adversaries that differ from one another in this training; of one release there is one."""
        if self.simulated:
            return tuple(ADVERSARIES)
        return ("one_round",) if self.steps == 1 else ("participation_known", "one_round")


def setup(
    *,
    epsilon: list[float] | None = None,
    noise_multiplier: list[float] | None = None,
    mu: list[float] | None = None,
    delta: float = 1e-5,
    steps: int = 1,
    sample_rate: float = 1.0,
    adversary: str = "participation_unknown",
) -> Setup:
    """A set-up from one of epsilon, noise_multiplier and mu, one value or several.

    Args:
        epsilon: of the whole training; noise_multiplier: sigma / C of one step; mu: C / sigma of what is released of
            an image; steps, sample_rate: T and q of the training, for the first two; adversary: see `Setup`.

    Raises:
        VpauditError: a number out of range, or steps with mu.
    """
    if mu is not None:
        if (steps, sample_rate) != (1, 1.0):
            raise VpauditError("--mu stands for all steps together", "give --noise-multiplier with --steps instead")
        checks.within(*accounting.MU_RANGE, mu=mu)
        checks.within(*accounting.DELTA_RANGE, delta=delta)
        return Setup([], delta, [Asked(v, "as given", _epsilon(v, delta)) for v in sorted({rounded(v) for v in mu})])
    name, values = ("epsilon", epsilon) if epsilon is not None else ("noise_multiplier", noise_multiplier)
    common = {"delta": delta, "steps": steps, "sample_rate": sample_rate}
    found = [accounting.account(**{name: value}, **common) for value in dict.fromkeys(values)]
    found.sort(key=lambda b: b.noise_multiplier, reverse=True)
    whole = Setup(found, delta, [], adversary)
    asked = [_asked(whole, number, name) for number in range(len(found)) for name in whole.noise_for]
    kept = [a for a in asked if a.adversary != "participation_unknown"]  # of whom a simulation tells
    return replace(whole, asked=sorted({a.mu: a for a in reversed(kept)}.values(), key=lambda a: a.mu))


def _asked(setup: Setup, number: int, name: str) -> Asked:
    budget = setup.budgets[number]
    mu = rounded(adversaries.mu(name, budget.noise_multiplier, budget.sample_rate, budget.steps))
    which = f", ε = {budget.epsilon:.3g}" if len(setup.budgets) > 1 else ""
    return Asked(mu, ADVERSARIES[name].label + which, _epsilon(mu, setup.delta), name, number)


def _epsilon(mu: float, delta: float) -> float:
    """epsilon of a mu; inf beyond what is verified, where it says nothing any more."""
    try:
        return float(accounting.epsilon_of_mu(mu, delta))
    except VpauditError:
        return float("inf")


def rounded(value: float) -> float:
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


def quick_grid(asked: list[float], grid: list[float]) -> list[float]:
    """Of a grid what a first look needs: the mu that are asked for, its smallest, and its largest if that makes two."""
    chosen = {grid[0], *(m for m in asked if m in grid)}
    return sorted(chosen if len(chosen) > 2 else {*chosen, grid[-1]})


def grid(asked: list[float], low: float, high: float) -> list[float]:
    """The mu that are asked for, as far as they can be measured, and steps of 1, 2, 5 around them; rising.

    The steps reach down to 0.2 or a quarter of the smallest asked, because success usually ends about there, and up to
    50 or twice the largest asked.
    """
    inside = [m for m in asked if low <= m <= high]
    bottom = max(low, min(0.2, min(asked) / 4))
    top = min(high, max(50.0, 2 * max(asked)))
    steps = [rounded(m * 10.0**k) for k in range(-4, 4) for m in STEPS]
    around = [s for s in steps if bottom <= s <= top and all(max(s / m, m / s) > NEAR for m in inside)]
    return sorted({*inside, *around})
