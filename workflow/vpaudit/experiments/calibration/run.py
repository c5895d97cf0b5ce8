"""Are draws a posterior? Spread against error, and coverage, on real images and on images of the prior itself.

For draws of a true posterior, E d(draw, draw') = E d(draw, target) = 2 mmse (in MSE), and a pixel's rank among K draws
is uniform. On images drawn from the prior itself a gap is the sampler's; what is left on real images is the network's.
"""

import pandas as pd
import torch

from vpaudit.experiments.bench import Bench, progress
from vpaudit.measure import agreement, metrics
from vpaudit.privacy.mechanism import release_analytic

LONG, IMAGES_OF_LONG = 100, 12  # chains of more calls than this are run on the first of the images only
DRAWS = 19  # ranks 1 to 18 of 0 to 19 are a 90 % interval
LIVE = 0.05  # pixels whose draws spread more than this; elsewhere all draws agree (background) and ranks are ties
ANCESTRAL, SECOND = {"kind": "ddim", "eta": 1.0}, {"kind": "multistep", "eta": 1.0, "order": 2}
SAMPLERS = {
    "real": [
        ("ancestral", 20, ANCESTRAL),
        ("ancestral", 200, ANCESTRAL),
        ("multistep_2", 10, SECOND),
        ("multistep_2", 20, SECOND),
        ("ddrm", 20, {"kind": "ddrm", "eta": 0.85}),
    ],
    "prior": [("ancestral", 20, ANCESTRAL), ("multistep_2", 20, SECOND)],
}


def run(bench: Bench) -> pd.DataFrame:
    """Columns targets ("real", "prior"), sampler, calls; metrics pairwise, error, mean_error (MSE), coverage, live."""
    tables, config = [], bench.config
    bench.network.rows = IMAGES_OF_LONG  # or few images would cost as much as all
    for name, targets in {"real": bench.x, "prior": bench.images_of_the_prior()}.items():
        dataset = config.dataset if name == "real" else f"{config.dataset} of the prior"
        seen = release_analytic(targets, bench.ids, bench.labels, bench.mechanism, dataset, config.seed)
        for sampler, steps, options in progress(SAMPLERS[name], f"calibration {name} mu={bench.mu:g}"):
            few = slice(IMAGES_OF_LONG if steps > LONG else None)
            draws = torch.stack([bench.attack(k, seen[few], steps=steps, **options) for k in range(DRAWS)])
            found = calibration(draws, targets[few])
            tables.append(bench.rows(found, targets=name, sampler=sampler, calls=steps))
        mean = {"mean_error": metrics.mse(bench.posterior_mean(seen), targets)}
        tables.append(bench.rows(mean, targets=name, sampler="posterior_mean", calls=1))
    return pd.concat(tables, ignore_index=True)


def calibration(draws: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
    """Per image: pairwise MSE between draws, their MSE to the target, that of their mean, and pixel coverage.

    Args:
        draws: (K, N, C, H, W); targets: (N, C, H, W).

    Returns:
        `coverage`: share of live pixels whose rank among the draws lies within 1 ... K - 1 (nominal (K-1)/(K+1));
        `live`: share of pixels where draws spread at all, which the target has no part in.
    """
    pairwise = agreement.agreement(draws, lambda j, k: {"mse": metrics.mse(draws[j], draws[k])})["mse"]
    below = (draws < targets).sum(0).flatten(1)
    inside = (below >= 1) & (below <= len(draws) - 1)
    live = draws.std(0).flatten(1) > LIVE
    return {
        "pairwise": pairwise,
        "error": torch.stack([metrics.mse(d, targets) for d in draws]).mean(0),
        "mean_error": metrics.mse(draws.mean(0), targets),
        "coverage": (inside & live).sum(1) / live.sum(1).clamp_min(1),
        "live": live.float().mean(1),
    }
