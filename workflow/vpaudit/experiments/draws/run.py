"""Judging success without the target, in full: from 2 to 64 draws, with the right and with a wrong prior."""

import itertools

import pandas as pd
import torch

from vpaudit.attack import reconstruct
from vpaudit.experiments.bench import Bench, progress
from vpaudit.measure import agreement, metrics
from vpaudit.study.config import Attack

DRAWS = {"unconditional": 64, "wrong_class": 16}
COUNTS = (2, 4, 8, 16, 32, 64)
PAIRED = 8  # draws whose SSIM and LPIPS are compared pair by pair
BANDS = 4
BINS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 2.0)  # of pixel std, for the reliability diagram
SAMPLER = {"kind": "multistep", "eta": 1.0, "order": 2, "steps": 20}


def run(bench: Bench) -> pd.DataFrame:
    """Columns prior, draws, place; estimates `estimated_*` (no target), `achieved_*`, baselines of one draw.

    `place` is a frequency band or a bin of pixel std, -1 elsewhere.
    """
    tables = []
    for prior, count in DRAWS.items():
        tables += _of_prior(bench, posterior_draws(bench, prior, count), prior)
    return pd.concat(tables, ignore_index=True)


def posterior_draws(bench: Bench, prior: str, count: int) -> torch.Tensor:
    """(count, N, C, H, W): draws of each target's posterior under a prior; the first are the same for every count."""
    chosen = Attack(name="draws", **SAMPLER)
    bar = progress(range(count), f"draws {prior} mu={bench.mu:g}")
    return torch.stack([
        reconstruct.reconstruct(bench.seen, bench.network, chosen, bench.config.seed, prior, draw) for draw in bar
    ])  # fmt: skip


def _of_prior(bench: Bench, draws: torch.Tensor, prior: str) -> list[pd.DataFrame]:
    def rows(values, count, place=-1):
        return bench.rows(values, prior=prior, draws=count, place=place)

    mean, few = draws.mean(0), draws[:PAIRED]
    achieved = torch.stack([metrics.mse(d, bench.x) for d in draws]).mean(0)
    tables = [rows({"achieved_mse": achieved, "achieved_mse_of_mean": metrics.mse(mean, bench.x)}, len(draws))]
    tables += [rows({"estimated_mse": agreement.expected_mse(draws[:k])}, k) for k in COUNTS if k <= len(draws)]
    tables.append(rows(_paired(bench, few), len(few)))
    tables.append(rows(baselines(draws[0]), 1))
    for band in range(BANDS):
        values = {
            "estimated_band": agreement.expected_band_mse(draws, BANDS)[:, band],
            "achieved_band": agreement.band_energy(draws - bench.x, BANDS)[..., band].mean(0),
        }
        tables.append(rows(values, len(draws), band))
    spread, error = draws.std(0).flatten(1), (mean - bench.x).flatten(1)
    for place, (low, high) in enumerate(itertools.pairwise(BINS)):
        inside = (spread >= low) & (spread < high)
        count = inside.sum(1)
        values = {"pixels": count.double()}
        for name, square in (("variance", spread.square()), ("squared_error", error.square())):
            values[f"pixel_{name}"] = (square * inside).sum(1) / count.clamp_min(1)
        tables.append(rows(values, len(draws), place))
    return tables


def _paired(bench: Bench, draws: torch.Tensor) -> dict[str, torch.Tensor]:
    """SSIM and LPIPS between draws, and against the target."""
    meter = bench.meter
    features = [meter.features(draw) for draw in draws]
    found = agreement.agreement(draws, lambda j, k: meter.compare(draws[j], draws[k], features[j], features[k]))
    reached = [meter.against_targets(*pair) for pair in zip(draws, features)]
    names = [name for name in reached[0] if name not in ("psnr", "mse")]
    values = {f"estimated_{name}": found[name] for name in names}
    return values | {f"achieved_{name}": torch.stack([r[name] for r in reached]).mean(0) for name in names}


def baselines(image: torch.Tensor) -> dict[str, torch.Tensor]:
    """No-reference statistics of one draw (B, C, H, W): total variation, sharpness, contrast, brightness."""
    across, down = image.diff(dim=-1).abs(), image.diff(dim=-2).abs()
    kernel = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]]).expand(image.shape[1], 1, 3, 3)
    laplacian = torch.nn.functional.conv2d(image, kernel, groups=image.shape[1])
    return {
        "baseline_total_variation": across.flatten(1).mean(1) + down.flatten(1).mean(1),
        "baseline_sharpness": laplacian.flatten(1).var(dim=1),
        "baseline_contrast": image.flatten(1).std(dim=1),
        "baseline_brightness": image.flatten(1).mean(dim=1),
    }
