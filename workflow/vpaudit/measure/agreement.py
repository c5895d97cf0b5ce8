"""Agreement between several draws from one observation: what the adversary can tell without the target.

For draws x_1 ... x_K of a calibrated posterior, E d(x_j, x_k) = E d(x_j, x) for any distance d, because the target is
itself one more draw. So agreement estimates success in the metric's own unit; in squared error, with v the variance
between draws, a draw is off by 2 v and the mean of K draws by v (1 + 1/K). Nothing that estimates takes a target.

Real networks are not calibrated exactly. `conformal_factor` corrects that by the targets of others (public ones, or a
study's own), and then holds for a new image with a stated probability, whatever the network, as long as images are
exchangeable: split conformal prediction (Vovk; Lei et al. 1604.04173). For pixels: `believed.py`.
"""

import itertools
import math
from collections.abc import Callable

import numpy as np
import torch

from vpaudit.base.errors import VpauditError


def agreement(draws: torch.Tensor, compare: Callable[[int, int], dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Mean of each pairwise metric over all pairs of draws.

    Args:
        draws: (K, B, C, H, W), K >= 2.
        compare: (j, k) -> {metric: (B,)} for draws j and k.

    Returns:
        {metric: (B,)} and "pixel_std": root mean square over pixels of the std between draws.
    """
    _several(draws)
    pairs = [compare(j, k) for j, k in itertools.combinations(range(len(draws)), 2)]
    result = {name: torch.stack([pair[name] for pair in pairs]).mean(0) for name in pairs[0]}
    result["pixel_std"] = draws.var(dim=0, unbiased=True).flatten(1).mean(1).sqrt()
    return result


def _several(draws: torch.Tensor) -> None:
    if len(draws) < 2:
        raise ValueError(f"agreement needs at least 2 draws, got {len(draws)}")


def expected_mse(draws: torch.Tensor) -> torch.Tensor:
    """(B,): 2 v, what a draw's MSE to the target should be; equals the mean pairwise MSE, in K steps instead of K^2."""
    _several(draws)
    return 2 * draws.double().var(dim=0, unbiased=True).flatten(1).mean(1)


def band_energy(deviation: torch.Tensor, bands: int = 4) -> torch.Tensor:
    """(..., bands): energy of images by spatial frequency, mean per pixel; the sum is the mean square.

    Bands are equally wide in radial frequency from 0 to the corner of the spectrum. deviation: (..., C, H, W).
    """
    height, width = deviation.shape[-2:]
    power = torch.fft.fft2(deviation.double(), norm="ortho").abs().square().mean(dim=-3)
    radius = (torch.fft.fftfreq(height)[:, None] ** 2 + torch.fft.fftfreq(width)[None] ** 2).sqrt()
    place = (radius / (0.5**0.5 + 1e-9) * bands).long().clamp_max(bands - 1)
    sums = [(power * (place == band)).sum(dim=(-2, -1)) for band in range(bands)]
    return torch.stack(sums, dim=-1) / (height * width)


def expected_band_mse(draws: torch.Tensor, bands: int = 4) -> torch.Tensor:
    """(B, bands): what a draw's squared error should be by spatial frequency; sums to `expected_mse`."""
    _several(draws)
    deviation = draws.double() - draws.double().mean(dim=0)
    return 2 * band_energy(deviation, bands).sum(dim=0) / (len(draws) - 1)


def conformal_factor(estimated: np.ndarray, achieved: np.ndarray, level: float = 0.9) -> float:
    """The factor c with Pr(achieved <= c estimated) >= level for a new image exchangeable with these.

    Args:
        estimated, achieved: (n,) > 0, of images whose targets are known; level: in (0, 1).

    Raises:
        VpauditError: n is too small for the level: the ceil((n + 1) level)-th of n ratios is needed.
    """
    ratios = np.sort(np.asarray(achieved, dtype=float) / np.maximum(np.asarray(estimated, dtype=float), 1e-12))
    place = math.ceil((len(ratios) + 1) * level)
    if place > len(ratios):
        raise VpauditError(
            f"{len(ratios)} images are too few for a level of {level:g}", f"give {math.ceil(level / (1 - level))}"
        )
    return float(ratios[place - 1])
