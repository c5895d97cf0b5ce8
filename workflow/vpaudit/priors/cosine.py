"""The orthonormal cosine transform of images by matrix products: on any device, and with gradients."""

import functools
import math

import torch


@functools.lru_cache(maxsize=64)
@torch.inference_mode(False)  # what is kept is also used where gradients are wanted
def matrix(side: int, dtype: torch.dtype = torch.float32, device: str = "cpu") -> torch.Tensor:
    """(side, side): rows are DCT-II's cosines, c_k(n) = sqrt(2 / side) cos(pi k (n + 1/2) / side), c_0 constant."""
    k = torch.arange(side, dtype=torch.float64)
    rows = torch.cos(math.pi / side * k[:, None] * (k + 0.5)) * math.sqrt(2 / side)
    rows[0] /= math.sqrt(2)
    return rows.to(dtype).to(device)


def transform(x: torch.Tensor) -> torch.Tensor:
    """Coefficients of (..., H, W), in its dtype."""
    height, width = (matrix(side, x.dtype, str(x.device)) for side in x.shape[-2:])
    return height @ x @ width.T


def inverse(coefficients: torch.Tensor) -> torch.Tensor:
    """Back to (..., H, W)."""
    height, width = (matrix(side, coefficients.dtype, str(coefficients.device)) for side in coefficients.shape[-2:])
    return height.T @ coefficients @ width


def frequency(height: int, width: int) -> torch.Tensor:
    """float64 (H, W): radial frequency of each cosine in cycles an image, the same for a pattern at every size."""
    down, across = (torch.arange(side, dtype=torch.float64) / 2 for side in (height, width))
    return torch.hypot(down[:, None], across[None])
