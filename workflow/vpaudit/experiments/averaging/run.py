"""The best distortion: one call for the posterior mean, against the mean of many draws (DMID, 2307.03992).

Draws of a true posterior average to its mean: R of them reach mmse (1 + 1/R). The one call needs no averaging.
"""

import pandas as pd
import torch

from vpaudit.experiments.bench import Bench, progress

REPEATS = (1, 2, 4, 8, 16, 32, 64)
SAMPLERS = {
    "ancestral": {"kind": "ddim", "eta": 1.0},
    "multistep_2": {"kind": "multistep", "eta": 1.0, "order": 2},
}
STEPS = {"ancestral": (2, 5), "multistep_2": (20,)}


def run(bench: Bench) -> pd.DataFrame:
    """Columns sampler, steps, repeats, calls (in all); MSE, SSIM, LPIPS of the mean of the draws."""
    tables = [bench.quality(bench.posterior_mean(bench.seen), sampler="posterior_mean", steps=1, repeats=1, calls=1)]
    settings = [(name, steps) for name, many in STEPS.items() for steps in many]
    for name, steps in progress(settings, f"averaging mu={bench.mu:g}"):
        total = torch.zeros_like(bench.x)
        for draw in range(max(REPEATS)):
            total += bench.attack(draw, steps=steps, **SAMPLERS[name])
            if draw + 1 in REPEATS:
                columns = {"sampler": name, "steps": steps, "repeats": draw + 1, "calls": steps * (draw + 1)}
                tables.append(bench.quality(total / (draw + 1), **columns))
    return pd.concat(tables, ignore_index=True)
