"""Few-step solvers fitted to a prior: where to call it, and how to combine the calls, from a grid of starting noises.

The deterministic flow from x at noise s ends at x*(0), and every state on the way is close to a linear combination of
the observation and the posterior means called so far (a multistep solver is such a combination with coefficients from
polynomials; Shaul et al. 2403.01329 train them through the network). Two things are added to it. A Gaussian prior of
the same images costs no call: above a noise of some 10 its flow is the network's to a percent, so the first call need
not stand at the observation's own noise, and its posterior mean and its flow join the combination
(`samplers.linear_terms`). And the coefficients are fitted greedily in closed form: at call k the next state is the
least-squares fit of the converged path at the next level in the span of these terms, over training images; no gradient
through the network is needed. The levels are then chosen by Nelder-Mead on the final error. Only training images and
their noise enter, never a target of a study.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import minimize

from vpaudit.base import files
from vpaudit.sampling import samplers

FILE = "few_step.json"
FLOW_CALLS = 60  # of the converged flow that is fitted to
LOWEST = 0.005  # no call below this noise, a quarter of the lowest trained level
GOOD_ENOUGH = 0.004  # of a pixel range of 2: no search for better levels


@dataclass(frozen=True)
class Plan:
    """A fitted solver.

    Attributes:
        sigmas: float64 (G,), rising: starting noises it was fitted at.
        levels: float64 (G, n + 1): noise of each call, the first at or below `sigmas`; last column 0.
        coefficients: float64 (G, n, n + 6), see `samplers.linear_steps`.
    """

    sigmas: np.ndarray
    levels: np.ndarray
    coefficients: np.ndarray

    @property
    def calls(self) -> int:
        return self.levels.shape[1] - 1

    def at(self, start: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Levels (B, n + 1) and coefficients (B, n, n + 6) for images at noise `start` (B,).

        Linear in log start between fitted ones, levels as ratios to the start; outside the grid the nearest is taken.
        """
        grid = np.log(self.sigmas)
        place = np.clip(np.log(start.double().cpu().numpy()), grid[0], grid[-1])
        right = np.clip(np.searchsorted(grid, place), 1, len(grid) - 1)
        share = ((place - grid[right - 1]) / (grid[right] - grid[right - 1]))[:, None]
        drops = np.log(self.levels[:, :-1] / self.sigmas[:, None])
        drop = (1 - share) * drops[right - 1] + share * drops[right]
        levels = np.concatenate([np.exp(drop), np.zeros((len(place), 1))], axis=1)
        mixed = (1 - share[..., None]) * self.coefficients[right - 1] + share[..., None] * self.coefficients[right]
        levels = start.double()[:, None].cpu() * torch.from_numpy(levels)
        return levels.float().to(start.device), torch.from_numpy(mixed).float().to(start.device)


def save(plans: list[Plan], folder: str | Path, about: dict) -> None:
    """Write `few_step.json` into a prior's folder, whole or not at all."""
    names = ("sigmas", "levels", "coefficients")
    content = {str(plan.calls): {name: getattr(plan, name).round(9).tolist() for name in names} for plan in plans}
    files.write_json(Path(folder) / FILE, {**about, "plans": content})


def load(folder: str | Path) -> dict[int, Plan]:
    """{calls: plan} of what `save` wrote; empty where the prior has none."""
    path = Path(folder) / FILE
    if not path.exists():
        return {}
    plans = files.read_json(path)["plans"]
    names = ("sigmas", "levels", "coefficients")
    return {
        int(calls): Plan(*(np.array(plan[name], dtype=np.float64) for name in names)) for calls, plan in plans.items()
    }


@dataclass(frozen=True)
class Flow:
    """The converged deterministic flow of a batch, at falling noise levels."""

    levels: np.ndarray  # (P + 1,), last one 0
    states: torch.Tensor  # (P + 1, N, C, H, W)

    def __getitem__(self, part: slice) -> "Flow":
        return Flow(self.levels, self.states[:, part])

    @classmethod
    def of(cls, denoise, x: torch.Tensor, sigma: float, calls: int = FLOW_CALLS) -> "Flow":
        levels = samplers.noise_levels(torch.full((len(x),), sigma), calls)
        states = [x, *samplers.multistep_steps(denoise, x, levels, order=3)]
        return cls(levels[0].double().numpy(), torch.stack(states))

    def at(self, sigma: float) -> torch.Tensor:
        """(N, C, H, W): the state at this noise, linear in log sigma between those that are kept."""
        if sigma <= 0:
            return self.states[-1]
        place = np.interp(-np.log(sigma), -np.log(self.levels[:-1]), np.arange(len(self.levels) - 1))
        low = min(int(place), len(self.levels) - 3)
        return torch.lerp(self.states[low], self.states[low + 1], float(place - low))


def combine(denoise, gaussian, x: torch.Tensor, levels: np.ndarray, flow: Flow) -> tuple[np.ndarray, torch.Tensor]:
    """Greedy least squares along the levels.

    Args:
        x: (N, C, H, W) at noise levels[0]; levels: (n + 1,), last one 0; flow: of the same images.

    Returns:
        coefficients (n, n + 6), see `samplers.linear_terms`, and the final state.
    """
    count = len(levels) - 1
    coefficients = np.zeros((count, count + 6))
    at, calls, state = torch.from_numpy(levels).float().expand(len(x), -1), [], x
    for k in range(count):
        calls.append(denoise(state, at[:, k]))
        terms = samplers.linear_terms(gaussian, x, state, at, calls)
        basis = torch.stack([term.flatten().double() for term in terms], dim=1)
        target = flow.at(levels[k + 1]).flatten().double()
        gram, right = basis.T @ basis, basis.T @ target
        ridge = 1e-6 * len(target) * torch.eye(len(terms), dtype=torch.float64)  # bf16 calls are good to 1e-3
        found = torch.linalg.solve(gram + ridge, right)
        coefficients[k, : len(terms)] = found.numpy()
        state = (basis @ found).view_as(x).float()
    return coefficients, state


def solve(denoise, gaussian, x: torch.Tensor, sigma: float, gaps: np.ndarray, flow: Flow):
    """(levels, coefficients, distance to the converged output) of images x at noise sigma."""
    levels = levels_of(sigma, gaps)
    start = gaussian.transport(x, torch.full((len(x),), sigma), torch.full((len(x),), float(levels[0])))
    coefficients, state = combine(denoise, gaussian, start, levels, flow)
    return levels, coefficients, distance(state, flow.states[-1])


def search(error: Callable[[np.ndarray], float], sigma: float, starts: list[np.ndarray], evaluations: int):
    """Gaps (n,) that make `error` small: the best of `starts`, then Nelder-Mead from there unless it is good enough."""

    def checked(gaps):
        if gaps[0] < 0 or np.any(gaps[1:] < 0.02) or gaps.sum() > np.log(sigma / LOWEST):
            return 1.0
        return error(gaps)

    best = min(starts, key=checked) if len(starts) > 1 else starts[0]
    if not evaluations or checked(best) < GOOD_ENOUGH:
        return best
    steps = np.append(0.1, 0.3 * best[1:])
    options = {"maxfev": evaluations * len(best), "initial_simplex": np.stack([best, *(best + np.diag(steps))])}
    return minimize(checked, best, method="Nelder-Mead", options={**options, "xatol": 0.01, "fatol": 1e-5}).x


def _first_guess(sigma: float, calls: int) -> np.ndarray:
    levels = samplers.noise_levels(torch.tensor([sigma]), calls)[0, :-1].double().numpy()
    return np.append(0.0, -np.diff(np.log(levels)))


def levels_of(sigma: float, gaps: np.ndarray) -> np.ndarray:
    """(n + 1,) levels from log ratios: of the start to the first call, then from call to call; the last level is 0."""
    return np.append(sigma * np.exp(-np.cumsum(gaps)), 0.0)


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    """Root mean square difference over an image's pixels, mean over images."""
    return float((a - b).square().flatten(1).mean(1).sqrt().mean())


def fit(
    denoise,
    gaussian,
    images: torch.Tensor,
    sigmas,
    calls: Sequence[int],
    noise: Callable[[float], torch.Tensor],
    evaluations: int = 6,
    few: int = 64,
    report: Callable[[str], None] = print,
) -> tuple[list[Plan], dict[int, list[float]]]:
    """A plan for each number of calls over a grid of starting noises, each warm-started from the noise below.

    Args:
        gaussian: Gaussian prior of the same kind of images.
        images: float32 (N, C, H, W) training images; sigmas: rising; noise: sigma -> (N, C, H, W) standard normal.
        evaluations: tries a call in the search for levels, on the first `few` images; coefficients take all.

    Returns:
        the plans, and by number of calls the distance to the converged output at each sigma.
    """
    rows, errors, gaps = {n: [] for n in calls}, {n: [] for n in calls}, {}
    for sigma in map(float, sigmas):
        x = images + sigma * noise(sigma)
        flow = Flow.of(denoise, x, sigma)
        for n in calls:
            starts = [_first_guess(sigma, n)]
            if rows[n]:  # the neighbour's calls where they were, and raised with the start
                rise = np.zeros(n)
                rise[0] = np.log(sigma / rows[n][-1][2])
                starts = [gaps[n] + rise, gaps[n], starts[0]]

            def error(candidate):
                return solve(denoise, gaussian, x[:few], sigma, candidate, flow[:few])[2]  # noqa: B023

            gaps[n] = search(error, sigma, starts, evaluations)
            levels, coefficients, found = solve(denoise, gaussian, x, sigma, gaps[n], flow)
            rows[n].append((levels, coefficients, sigma))
            errors[n].append(found)
            report(f"s={sigma:.3g}, {n} calls: rmse {found:.4f}, levels {np.array2string(levels, precision=3)}")
    plans = [Plan(np.array(sigmas, float), *(np.stack(part) for part in list(zip(*rows[n]))[:2])) for n in calls]
    return plans, errors
