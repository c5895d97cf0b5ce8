"""Agreement between several draws from one observation: what the adversary can tell without the target.

For draws x_1 ... x_K of a calibrated posterior, E d(x_j, x_k) = E d(x_j, x) for any distance d, because the target is
itself one more draw. So agreement estimates success in the metric's own unit. Nothing here takes a target.
"""

import itertools
from collections.abc import Callable

import torch


def agreement(draws: torch.Tensor, compare: Callable[[int, int], dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Mean of each pairwise metric over all pairs of draws.

    Args:
        draws: (K, B, C, H, W), K >= 2.
        compare: (j, k) -> {metric: (B,)} for draws j and k.

    Returns:
        {metric: (B,)} and "pixel_std": root mean square over pixels of the std between draws.
    """
    if len(draws) < 2:
        raise ValueError(f"agreement needs at least 2 draws, got {len(draws)}")
    pairs = [compare(j, k) for j, k in itertools.combinations(range(len(draws)), 2)]
    result = {name: torch.stack([pair[name] for pair in pairs]).mean(0) for name in pairs[0]}
    result["pixel_std"] = draws.var(dim=0, unbiased=True).flatten(1).mean(1).sqrt()
    return result
