"""Pixel ranges and the noise units that go with them: the one place that converts either.

Inside the library an image is float32, (B, C, H, W), in [-1, 1], so its data range is 2. Noise of std s on [-1, 1]
is noise of std s/2 on [0, 1] and 127.5 s on [0, 255]; forgetting this is the field's commonest factor of two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # figures use this module too, and start without torch
    import torch

LOW, HIGH = -1.0, 1.0
DATA_RANGE = HIGH - LOW


def signed(array: np.ndarray) -> np.ndarray:
    """uint8 in [0, 255], any shape, to float64 in [-1, 1]."""
    if array.dtype != np.uint8:
        raise TypeError(f"expected uint8 pixels, got {array.dtype}")
    return array / 127.5 - 1.0


def packed(array: np.ndarray, store: str) -> np.ndarray:
    """float in [-1, 1] as it is stored: "float32", or "uint8", rounded, which costs an MSE of 5e-6."""
    return array if store == "float32" else np.round((array.clip(LOW, HIGH) + 1.0) * 127.5).astype(np.uint8)


def unpacked(array: np.ndarray) -> np.ndarray:
    """What `packed` stored, as float32."""
    return signed(array).astype(np.float32) if array.dtype == np.uint8 else array


def from_uint8(array: np.ndarray) -> torch.Tensor:
    """uint8 (B, H, W) or (B, H, W, C) in [0, 255] to float32 (B, C, H, W) in [-1, 1]."""
    import torch

    image = torch.from_numpy(signed(array).astype(np.float32))
    return (image[:, None] if image.ndim == 3 else image.permute(0, 3, 1, 2)).contiguous()


def floated(images: torch.Tensor) -> torch.Tensor:
    """(B, C, H, W) in [-1, 1]: from uint8 in [0, 255], on any device; floats as they are."""
    return images.float().div_(127.5).sub_(1.0) if images.dtype.is_floating_point is False else images


def to_uint8(image: torch.Tensor) -> np.ndarray:
    """float (B, C, H, W) in [-1, 1], clipped and never stretched, to uint8 (B, H, W) or (B, H, W, C)."""
    array = image.clamp(LOW, HIGH).add(1.0).mul(127.5).round().byte().permute(0, 2, 3, 1).numpy()
    return array[..., 0] if array.shape[-1] == 1 else array


def to_unit(image):
    """Array or tensor in [-1, 1], clipped and never stretched, to [0, 1]."""
    return (image.clip(LOW, HIGH) - LOW) / DATA_RANGE


def per_image(value):
    """Array or tensor (B,) to (B, 1, 1, 1), for broadcasting over an image."""
    return value.reshape(-1, 1, 1, 1)
