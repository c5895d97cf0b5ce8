"""Few-step solvers fitted to a prior: where to call it, and how to combine the calls, from a grid of starting noises.

The deterministic flow from x at noise s ends at x*(0), and every state on the way is close to a linear combination of
the observation and the posterior means called so far (a multistep solver is such a combination with coefficients from
polynomials; Shaul et al. 2403.01329 train them through the network). Here they are fitted greedily in closed form: at
call k the next state is the least-squares fit of the converged path at the next level in the span of x and D_1 ... D_k,
over training images; no gradient through the network is needed. The levels are then chosen by Nelder-Mead on the
final error. Only training images and their noise enter, never a target of a study.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import minimize

from vpaudit import io, samplers
from vpaudit.errors import VpauditError

FILE = "few_step.json"
PATH_LEVELS = 100  # calls of the converged path that is fitted to


@dataclass(frozen=True)
class Plan:
    """A fitted solver.

    Attributes:
        sigmas: float64 (G,), rising: starting noises it was fitted at.
        levels: float64 (G, n + 1): noise of each call; first column `sigmas`, last 0.
        coefficients: float64 (G, n, n + 1), see `samplers.linear_steps`.
    """

    sigmas: np.ndarray
    levels: np.ndarray
    coefficients: np.ndarray

    @property
    def calls(self) -> int:
        return self.levels.shape[1] - 1

    def at(self, start: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Levels (B, n + 1) and coefficients (B, n, n + 1) for images at noise `start` (B,).

        Linear in log start between fitted ones, levels as ratios to the start; outside the grid the nearest is taken.
        """
        grid = np.log(self.sigmas)
        place = np.clip(np.log(start.double().cpu().numpy()), grid[0], grid[-1])
        right = np.clip(np.searchsorted(grid, place), 1, len(grid) - 1)
        share = ((place - grid[right - 1]) / (grid[right] - grid[right - 1]))[:, None]
        drops = np.log(self.levels[:, :-1] / self.levels[:, :1])
        drop = (1 - share) * drops[right - 1] + share * drops[right]
        levels = np.concatenate([np.exp(drop), np.zeros((len(place), 1))], axis=1)
        mixed = (1 - share[..., None]) * self.coefficients[right - 1] + share[..., None] * self.coefficients[right]
        levels = start.double()[:, None].cpu() * torch.from_numpy(levels)
        return levels.float().to(start.device), torch.from_numpy(mixed).float().to(start.device)

    def save(self, folder: str | Path, about: dict) -> None:
        """Write `few_step.json` into a prior's folder, whole or not at all."""
        arrays = {name: getattr(self, name).round(9).tolist() for name in ("sigmas", "levels", "coefficients")}
        io.write_json(Path(folder) / FILE, {**about, **arrays})

    @classmethod
    def load(cls, folder: str | Path) -> "Plan":
        """Read what `save` wrote."""
        path = Path(folder) / FILE
        if not path.exists():
            raise VpauditError(
                f"the prior has no fitted few-step solver ({path})",
                f"run `vpaudit few-step --prior {folder}`, or use kind: multistep",
            )
        content = io.read_json(path)
        return cls(*(np.array(content[name], dtype=np.float64) for name in ("sigmas", "levels", "coefficients")))


@dataclass(frozen=True)
class Flow:
    """The converged deterministic flow of a batch, at falling noise levels."""

    levels: np.ndarray  # (P + 1,), last one 0
    states: torch.Tensor  # (P + 1, N, C, H, W)

    @classmethod
    def of(cls, denoise, x: torch.Tensor, sigma: float, calls: int = PATH_LEVELS) -> "Flow":
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


def combine(denoise, x: torch.Tensor, levels: np.ndarray, path: Flow) -> tuple[np.ndarray, torch.Tensor]:
    """Greedy least squares along the levels.

    Args:
        x: (N, C, H, W) at noise levels[0]; levels: (n + 1,), last one 0; path: of the same x.

    Returns:
        coefficients (n, n + 1) and the final state.
    """
    count = len(levels) - 1
    coefficients = np.zeros((count, count + 1))
    terms, state = [x.flatten().double()], x
    for k in range(count):
        terms.append(denoise(state, torch.full((len(x),), float(levels[k]))).flatten().double())
        basis = torch.stack(terms, dim=1)
        target = path.at(levels[k + 1]).flatten().double()
        gram, right = basis.T @ basis, basis.T @ target
        ridge = 1e-6 * len(target) * torch.eye(k + 2, dtype=torch.float64)  # bf16 calls are good to 1e-3
        found = torch.linalg.solve(gram + ridge, right)
        coefficients[k, : k + 2] = found.numpy()
        state = (basis @ found).view_as(x).float()
    return coefficients, state


def fit_one(denoise, x: torch.Tensor, sigma: float, start: np.ndarray, evaluations: int, path: Flow):
    """Levels and coefficients for one starting noise.

    Args:
        start: (n - 1,) log ratios between neighbouring levels to begin with; evaluations: of the final error.

    Returns:
        the log ratios found, levels (n + 1,), coefficients (n, n + 1), root mean square error to the converged output.
    """

    def levels_of(gaps):
        return np.append(sigma * np.exp(-np.cumsum(np.append(0.0, gaps))), 0.0)

    def error(gaps):
        if np.any(gaps < 0.02) or gaps.sum() > np.log(sigma / 0.005):
            return 1.0
        _, state = combine(denoise, x, levels_of(gaps), path)
        return float((state - path.states[-1]).square().mean().sqrt())

    if len(start) and evaluations:
        simplex = np.stack([start, *(start * (1 + 0.3 * np.eye(len(start))[i]) for i in range(len(start)))])
        found = minimize(
            error,
            start,
            method="Nelder-Mead",
            options={"maxfev": evaluations, "initial_simplex": simplex, "xatol": 0.01, "fatol": 1e-5},
        )
        start = found.x
    levels = levels_of(start)
    coefficients, state = combine(denoise, x, levels, path)
    return start, levels, coefficients, float((state - path.states[-1]).square().mean().sqrt())


def fit(prior, images: torch.Tensor, sigmas, calls: int, evaluations: int, noise, report=print) -> tuple[Plan, list]:
    """A plan of `calls` calls over a grid of starting noises, each warm-started from its neighbour.

    Args:
        images: float32 (N, C, H, W) training images; sigmas: rising; noise: sigma -> (N, C, H, W) standard normal.

    Returns:
        the plan and the root mean square error to the converged output at each sigma, on these images.
    """
    rows, errors, gaps = [], [], None
    for sigma in np.asarray(sigmas, dtype=np.float64):
        x = images + float(sigma) * noise(float(sigma))
        path = Flow.of(prior.denoise, x, float(sigma))
        if gaps is None:
            levels = samplers.noise_levels(torch.tensor([sigma]), calls)[0, :-1].double().numpy()
            gaps = -np.diff(np.log(levels))
        else:  # the neighbour's list, stretched to the new start
            gaps = gaps * (1 + np.log(sigma / rows[-1][0][0]) / gaps.sum()) if len(gaps) else gaps
        gaps, levels, coefficients, error = fit_one(prior.denoise, x, float(sigma), gaps, evaluations, path)
        rows.append((levels, coefficients))
        errors.append(error)
        report(f"s={sigma:.3g}: rmse {error:.4f} at levels {np.array2string(levels, precision=3)}")
    plan = Plan(np.asarray(sigmas, float), np.stack([r[0] for r in rows]), np.stack([r[1] for r in rows]))
    return plan, errors
