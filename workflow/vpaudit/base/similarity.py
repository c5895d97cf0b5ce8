"""Structural similarity of images: Wang et al. 2004, Gaussian window of 11 pixels, sigma 1.5, k1 0.01, k2 0.03.

Written here because the libraries that have it for batches of tensors take seconds of every job to import.
"""

import torch
from torch.nn.functional import conv2d, pad

from vpaudit.base.pixels import DATA_RANGE

WINDOW, SIGMA = 11, 1.5
C1, C2 = (0.01 * DATA_RANGE) ** 2, (0.03 * DATA_RANGE) ** 2  # keep a flat window's ratio finite


def ssim(image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """(B, C, H, W) x (B, C, H, W) in [-1, 1] -> (B,): the mean over pixels and channels, borders reflected.

    Sides under 11 pixels: a uniform window of the largest odd size that fits.
    """
    moments = torch.stack((image, target, image * image, target * target, image * target))
    a, b, aa, bb, ab = _blurred(moments.flatten(0, 2)[:, None]).view(moments.shape)
    variances = (aa - a * a).clamp_min(0) + (bb - b * b).clamp_min(0)
    found = (2 * a * b + C1) * (2 * (ab - a * b) + C2) / ((a * a + b * b + C1) * (variances + C2))
    return found.flatten(1).mean(1)


def _blurred(maps: torch.Tensor) -> torch.Tensor:
    """(N, 1, H, W), averaged with the window's weights around each pixel."""
    side = min(maps.shape[-2:])
    size = min(WINDOW, side - 1 + side % 2)
    away = torch.arange(size, dtype=maps.dtype, device=maps.device) - size // 2
    line = torch.exp(-((away / SIGMA) ** 2) / 2) if size == WINDOW else torch.ones_like(away)
    line = line / line.sum()
    edged = pad(maps, 4 * [size // 2], mode="reflect")
    return conv2d(conv2d(edged, line.view(1, 1, -1, 1)), line.view(1, 1, 1, -1))
