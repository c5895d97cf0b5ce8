"""Few-step solvers refined as a whole: all levels and coefficients at once, by gradient through the network.

`fewstep.fit` is greedy: each state is fitted to the path, whatever the later calls make of it, and least squares smooth
what they cannot predict. Here the solver's end is what counts (as in Shaul et al. 2403.01329): its distance to the
converged output, and that the whole of its outputs is as far from the images, as similar to them in structure (SSIM)
and as rich in detail as the converged ones. Only training images enter. Terms of a step are nearly collinear, so steps
are taken in coordinates in which they are not. Minutes on a GPU, days on a CPU.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torchmetrics.functional.image import structural_similarity_index_measure as ssim

from vpaudit.base.pixels import per_image
from vpaudit.sampling import samplers
from vpaudit.sampling.few_step import LOWEST, Plan

LIMIT = 0.04  # root mean square distance to the converged output that is aimed at: 2 % of the range
TOLERANCE = 0.01  # relative difference of the metrics' means that is aimed at
STEP = {"coefficients": 1e-3, "levels": 2e-3}  # Adam's: in units of the state's spread, and of log sigma
GROUPS = (8, 64)  # noises, and images at each, of a step
DAMPING = 0.05  # root mean square below which a combination of terms is left nearly alone


@dataclass(frozen=True)
class Pool:
    """Observations with their converged outputs: x, end, clean (S, M, C, H, W) at noises sigmas (S,)."""

    sigmas: torch.Tensor
    x: torch.Tensor
    end: torch.Tensor
    clean: torch.Tensor

    @classmethod
    @torch.inference_mode()
    def of(cls, denoise, images: torch.Tensor, sigmas, seed: int, calls: int = 60) -> "Pool":
        """Every image at every noise; noise drawn on the images' device."""
        rng = torch.Generator(images.device).manual_seed(seed)
        sigmas = torch.as_tensor(sigmas, dtype=torch.float32, device=images.device)
        xs, ends = [], []
        for sigma in sigmas:
            x = images + sigma * torch.randn(images.shape, generator=rng, device=images.device)
            levels = samplers.noise_levels(sigma.expand(len(x)), calls)
            xs.append(x)
            ends.append(samplers.last(samplers.multistep_steps(denoise, x, levels, order=3)).clamp(-1, 1))
        return cls(
            sigmas, torch.stack(xs).clone(), torch.stack(ends).clone(), images.expand_as(torch.stack(xs)).clone()
        )


class Solver(torch.nn.Module):
    """A plan whose numbers can be learned; interpolated between starting noises as `Plan.at` does."""

    def __init__(self, plan: Plan, scale: torch.Tensor):
        """scale (G, n, n + 6, n + 6): from the coordinates that are learned to coefficients."""
        super().__init__()
        device = scale.device
        self.grid = torch.from_numpy(np.log(plan.sigmas)).to(device)
        drops = torch.from_numpy(np.log(plan.levels[:, :-1] / plan.sigmas[:, None])).to(device)
        self.base, self.scale = torch.from_numpy(plan.coefficients).to(device), scale
        self.drops = torch.nn.Parameter(drops)
        self.moves = torch.nn.Parameter(torch.zeros_like(self.base))

    def coefficients(self) -> torch.Tensor:
        return self.base + torch.einsum("gkij,gkj->gki", self.scale, self.moves)

    def at(self, start: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Plan.at`."""
        place = start.double().log().clamp(self.grid[0], self.grid[-1])
        right = torch.searchsorted(self.grid, place).clamp(1, len(self.grid) - 1)
        share = (place - self.grid[right - 1]) / (self.grid[right] - self.grid[right - 1])
        drops = torch.lerp(self.drops[right - 1], self.drops[right], share[:, None])
        found = self.coefficients()
        mixed = torch.lerp(found[right - 1], found[right], share[:, None, None])
        levels = start.double()[:, None] * drops.exp()
        return torch.cat([levels, torch.zeros_like(levels[:, :1])], 1).float(), mixed.float()

    def plan(self, sigmas: np.ndarray) -> Plan:
        """What was learned, its levels falling from the start and none below the lowest a prior is asked at."""
        drops = self.drops.detach().cpu().numpy()
        levels = np.minimum.accumulate(np.exp(np.minimum(drops, 0)) * sigmas[:, None], axis=1)
        levels = np.maximum(levels, LOWEST * np.linspace(1.05, 1, levels.shape[1]))
        levels = np.concatenate([levels, np.zeros((len(levels), 1))], axis=1)
        return Plan(sigmas, levels, self.coefficients().detach().cpu().numpy())


def solve(denoise, gaussian, x: torch.Tensor, start: torch.Tensor, levels, coefficients, trace: list | None = None):
    """The end of the solver's chain (B, C, H, W); `trace` collects the terms of every step."""
    first = gaussian.transport(x, start, levels[:, 0])
    if trace is None:
        return samplers.last(samplers.linear_steps(denoise, first, levels, coefficients, gaussian))
    calls, state = [], first
    for k in range(levels.shape[1] - 1):
        calls.append(denoise(state, levels[:, k]))
        trace.append(samplers.linear_terms(gaussian, first, state, levels, calls))
        state = sum(per_image(c) * term for c, term in zip(coefficients[:, k].unbind(1), trace[-1]))
    return state


@torch.no_grad()
def whitening(denoise, gaussian, plan: Plan, images: torch.Tensor, seed: int) -> torch.Tensor:
    """(G, n, n + 6, n + 6) float64: columns that move a step's state by about a unit root mean square each."""
    rng = torch.Generator(images.device).manual_seed(seed)
    width = plan.coefficients.shape[-1]
    scale = torch.zeros(*plan.coefficients.shape, width, dtype=torch.float64, device=images.device)
    for g, sigma in enumerate(plan.sigmas):
        start = torch.full((len(images),), float(sigma), device=images.device)
        x = images + float(sigma) * torch.randn(images.shape, generator=rng, device=images.device)
        trace = []
        solve(denoise, gaussian, x, start, *(v.to(images.device) for v in plan.at(start)), trace)
        for k, terms in enumerate(trace):
            basis = torch.stack([term.flatten().double() for term in terms], dim=1)
            values, vectors = torch.linalg.eigh(basis.T @ basis / len(basis))
            scale[g, k, : len(terms), : len(terms)] = vectors / (values.clamp_min(0) + DAMPING**2).sqrt()
    return scale


def details(images: torch.Tensor) -> torch.Tensor:
    """(B, 3): mean square of differences over 1, 2 and 4 pixels, along both axes."""
    parts = []
    for reach in (1, 2, 4):
        across, along = images[..., reach:] - images[..., :-reach], images[..., reach:, :] - images[..., :-reach, :]
        parts.append(across.square().flatten(1).mean(1) + along.square().flatten(1).mean(1))
    return torch.stack(parts, dim=1)


def judged(output, end, clean, groups: int) -> dict[str, torch.Tensor]:
    """Of outputs (S M, C, H, W) in `groups` S of like noise, (S,) each but `details` (S, 3).

    `distance`: to the converged output, root mean square over pixels; `mse`, `ssim`, `details`: ratios of the
    outputs' mean to that of the converged ones.
    """

    def mean(values):
        return values.view(groups, -1, *values.shape[1:]).mean(1)

    def similarity(images):
        return mean(ssim(images, clean, data_range=2.0, reduction="none").view(len(images)))

    def error(images):
        return mean((images - clean).square().flatten(1).mean(1))

    far = (output - end).square().flatten(1).mean(1)
    return {
        "distance": mean((far + 1e-10).sqrt()),
        "mse": error(output) / error(end),
        "ssim": similarity(output) / similarity(end),
        "details": mean(details(output)) / mean(details(end)),
    }


def loss_of(found: dict[str, torch.Tensor], sigmas: torch.Tensor, weight: float) -> torch.Tensor:
    """Squares of `distance` over its limit, and (times `weight`) of the ratios' differences from 1 over theirs."""
    limit = (0.01 * sigmas).clamp(max=LIMIT)  # at little noise the limit asks for nothing
    ratios = torch.cat([found["mse"][:, None], found["ssim"][:, None], found["details"] ** 0.5], dim=1)
    return (found["distance"] / limit).square().mean() + weight * ((ratios - 1) / TOLERANCE).square().mean()


def refine(
    denoise: Callable,
    gaussian,
    plan: Plan,
    pool: Pool,
    steps: int,
    weight: float = 0.05,
    groups: int | None = None,
    per_group: int | None = None,
    seconds: float = float("inf"),
    seed: int = 0,
    report: Callable[[str], None] = print,
) -> tuple[Plan, int]:
    """A plan of as many calls, better at its end, and the steps that were taken.

    Args:
        denoise: (x, sigma) -> posterior mean, with gradients, on the pool's device; gaussian: on the same device.
        pool: training images at starting noises over the plan's range, and what the converged flow makes of them.
        steps: of Adam, each on `per_group` images at each of `groups` noises (GROUPS); fewer if `seconds` are over.
        weight: of the metrics' ratios against the distance.
    """
    groups, per_group = groups or GROUPS[0], per_group or GROUPS[1]
    rng = torch.Generator().manual_seed(seed)
    solver = Solver(plan, whitening(denoise, gaussian, plan, pool.clean[0][:64], seed))
    parts = [{"params": [solver.moves], "lr": STEP["coefficients"]}, {"params": [solver.drops], "lr": STEP["levels"]}]
    optimizer = torch.optim.Adam(parts, betas=(0.9, 0.99))
    peaks, begun, progress = [part["lr"] for part in parts], time.monotonic(), 0.0
    for step in range(steps):
        progress = max((step + 1) / steps, (time.monotonic() - begun) / seconds)
        for part, peak in zip(optimizer.param_groups, peaks):
            part["lr"] = peak * min(1.0, (step + 1) / 20) * 0.5 * (1 + np.cos(np.pi * min(1.0, progress)))
        which = torch.randperm(len(pool.sigmas), generator=rng)[:groups]
        images = torch.randperm(pool.x.shape[1], generator=rng)[:per_group]
        x, end, clean = (v[which][:, images].flatten(0, 1) for v in (pool.x, pool.end, pool.clean))
        start = pool.sigmas[which].repeat_interleave(per_group)
        found = judged(solve(denoise, gaussian, x, start, *solver.at(start)).clamp(-1, 1), end, clean, groups)
        loss = loss_of(found, pool.sigmas[which], weight)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(solver.parameters(), 10.0)
        optimizer.step()
        if step % 50 == 0 or step == steps - 1:
            report(f"step {step}: loss {loss.item():.3f}, rmse {found['distance'].mean().item():.4f}")
        if progress >= 1:
            break
    return solver.plan(plan.sigmas), step + 1


@torch.inference_mode()
def assess(denoise, gaussian, plan: Plan, pool: Pool, at_once: int = 256) -> list[dict[str, float]]:
    """`judged` of a plan at each of the pool's noises, over all its images."""
    rows = []
    for sigma, x, end, clean in zip(pool.sigmas, pool.x, pool.end, pool.clean):
        outputs = []
        for part in x.split(at_once):
            start = sigma.expand(len(part))
            outputs.append(solve(denoise, gaussian, part, start, *plan.at(start)).clamp(-1, 1))
        found = judged(torch.cat(outputs), end, clean, 1)
        row = {"sigma": float(sigma), "details": float(found["details"][0, 0])}
        rows.append(row | {name: float(found[name][0]) for name in ("distance", "mse", "ssim")})
    return rows


def all_of(denoise, gaussian, plans, images, held_out, sigmas, steps, seconds, seed) -> tuple[list[Plan], dict]:
    """Every plan refined on `images` at noises `sigmas`, and how each did before and after on `held_out` images.

    Args:
        plans: by number of calls; images, held_out: float32 (N, C, H, W) on the device of the work; the rest: `refine`.
    """
    pool = Pool.of(denoise, images, sigmas, seed)
    judge = Pool.of(denoise, held_out, np.sqrt(sigmas[1:] * sigmas[:-1])[::4], seed + 1)
    about = {
        "images": len(images),
        "noises": len(sigmas),
        "held_out_images": len(held_out),
        "steps": {},
        "held_out": {},
    }
    better = []
    for calls, plan in sorted(plans.items()):
        print(f"{calls} calls", flush=True)
        found, about["steps"][str(calls)] = refine(denoise, gaussian, plan, pool, steps, seconds=seconds, seed=seed)
        before, after = (
            [{k: round(v, 5) for k, v in row.items()} for row in assess(denoise, gaussian, p, judge)]
            for p in (plan, found)
        )
        about["held_out"][str(calls)] = [{"before": b, "after": a} for b, a in zip(before, after)]
        better.append(found)
    return better, about
