"""Judging success without the target, in full: from 2 to 64 draws, with the right and with a wrong prior."""

import itertools

import numpy as np
import pandas as pd
import torch

from vpaudit.attack import reconstruct
from vpaudit.base.randomness import generator
from vpaudit.experiments.bench import Bench, progress
from vpaudit.experiments.draws import LEVEL, RATE, TOLERANCE
from vpaudit.measure import agreement, metrics
from vpaudit.study.config import Attack

DRAWS = {"unconditional": 64, "wrong_class": 16}
COUNTS = (2, 4, 8, 16, 32, 64)
PAIRED = 8  # draws whose SSIM and LPIPS are compared pair by pair
BANDS = 4
BINS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 2.0)  # of pixel std, for the reliability diagram
SPLITS = 20  # of the images into calibrating and judged ones
EXAMPLES = 4
SAMPLER = {"kind": "multistep", "eta": 1.0, "order": 2, "steps": 20}


def run(bench: Bench) -> pd.DataFrame:
    """Columns prior, draws, place; estimates `estimated_*` (no target), `achieved_*`, baselines of one draw; what
    conformal calibration guarantees and what it kept, `conformal_*`; pixels of examples, `example_*`.

    `place` is a frequency band, a bin of pixel std or a pixel, -1 elsewhere.
    """
    tables, stacks = [], {}
    for prior, count in DRAWS.items():
        chosen = Attack(name="draws", **SAMPLER)
        made = [
            reconstruct.reconstruct(bench.seen, bench.network, chosen, bench.config.seed, prior, draw)
            for draw in progress(range(count), f"draws {prior} mu={bench.mu:g}")
        ]
        stacks[prior] = torch.stack(made)
        tables += _of_prior(bench, stacks[prior], prior)
    least = min(len(draws) for draws in stacks.values())
    return pd.concat(tables + _conformal(bench, {p: draws[:least] for p, draws in stacks.items()}), ignore_index=True)


def _conformal(bench: Bench, stacks: dict[str, torch.Tensor]) -> list[pd.DataFrame]:
    """Calibrated under the first prior on half of the images, judged on the other half under every prior.

    Under the first prior the rates are guaranteed; under another one nothing is, and this shows what then happens.
    """
    first, least = next(iter(stacks)), len(next(iter(stacks.values())))
    known = {prior: _seen(bench, draws) for prior, draws in stacks.items()}
    sums = {prior: {} for prior in stacks}
    times = np.zeros(len(bench.x))
    for split in range(SPLITS):
        order = torch.randperm(len(bench.x), generator=generator(bench.config.seed, "conformal", split)).numpy()
        fitted, judged = order[: len(order) // 2], order[len(order) // 2 :]
        spread, error, estimated, achieved = (values[fitted] for values in known[first])
        limit = agreement.trusted_spread(spread, error, TOLERANCE, RATE)
        level = min(LEVEL, len(fitted) / (len(fitted) + 1))
        factor = agreement.conformal_factor(estimated, achieved, level)
        times[judged] += 1
        for prior, (spread, error, estimated, achieved) in known.items():
            real = (spread[judged] <= limit) & (limit > 0)
            found = {
                "real": real.mean(1),
                "false": (real & (error[judged] > TOLERANCE)).mean(1),
                "within": achieved[judged] <= factor * estimated[judged],
                "factor": np.full(len(judged), factor),
            }
            for name, values in found.items():
                sums[prior].setdefault(name, np.zeros(len(bench.x)))[judged] += values
    tables = []
    for prior, names in sums.items():
        values = {f"conformal_{k}": torch.from_numpy(v / times.clip(1)) for k, v in names.items()}
        tables.append(bench.rows(values, prior=prior, draws=least, place=-1))
    return tables + _examples(bench, stacks, known)


def _seen(bench: Bench, draws: torch.Tensor) -> tuple[np.ndarray, ...]:
    """Of each image: std between draws and |mean - target| by pixel; estimated and achieved MSE of a draw."""
    mean = draws.mean(0)
    achieved = torch.stack([metrics.mse(d, bench.x) for d in draws]).mean(0)
    values = (draws.std(0).flatten(1), (mean - bench.x).abs().flatten(1), agreement.expected_mse(draws), achieved)
    return tuple(v.double().numpy() for v in values)


def _examples(bench: Bench, stacks: dict[str, torch.Tensor], known: dict) -> list[pd.DataFrame]:
    """Pixels of the images of which the last prior is most often sure (its spread below a half of TOLERANCE) and
    wrong (by more than TOLERANCE)."""
    spread, error = known[list(stacks)[-1]][:2]
    worst = np.argsort(-((spread < TOLERANCE / 2) & (error > TOLERANCE)).sum(1), kind="stable")[:EXAMPLES].copy()
    tables = []
    for prior, draws in stacks.items():
        shown = {"mean": draws.mean(0), "spread": draws.std(0), "target": bench.x}
        for name, images in shown.items():
            flat = images[torch.from_numpy(worst)].flatten(1)
            common = {"dataset": bench.config.data.name, "mu": bench.mu, "metric": f"example_{name}"}
            rows = pd.DataFrame({
                "image": np.repeat(bench.ids.numpy()[worst], flat.shape[1]),
                "place": np.tile(np.arange(flat.shape[1]), len(worst)),
                "value": flat.flatten().double().numpy(),
            })  # fmt: skip
            tables.append(rows.assign(prior=prior, draws=len(draws), **common))
    return tables


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
