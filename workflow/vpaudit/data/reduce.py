"""Small images from larger ones, free of what a compression did to the small ones that they are to resemble."""

import numpy as np
import torch
from PIL import Image
from scipy import fft

from vpaudit.base.errors import VpauditError
from vpaudit.base.randomness import generator

LEAST = 2  # times smaller: of an 8 x 8 block of JPEG no more than 4 x 4 pixels are left
LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R 601


def reduced(images: np.ndarray, side: int, count: int, key: tuple) -> np.ndarray:
    """uint8 (count, side, side, ...) from uint8 (N, H, W, ...), H and W >= 2 side.

    The images in turn; of each a square of a side drawn log-uniformly from 2 `side` to the whole, anywhere in it,
    resized by Lanczos.
    """
    height, width = images.shape[1:3]
    most = min(height, width)
    if most < LEAST * side:
        raise VpauditError(
            f"images of {height}x{width} are too small to be reduced to {side} pixels",
            f"take images of at least {LEAST * side} pixels a side",
        )
    found = np.empty((count, side, side, *images.shape[3:]), np.uint8)
    for k in range(count):
        how, down, right = torch.rand(3, generator=generator(*key, "reduced", k)).tolist()
        cut = round(LEAST * side * (most / (LEAST * side)) ** how)
        top, left = round(down * (height - cut)), round(right * (width - cut))
        square = Image.fromarray(images[k % len(images), top : top + cut, left : left + cut])
        found[k] = np.asarray(square.resize((side, side), Image.Resampling.LANCZOS))
    return found


def as_sharp_as(images: np.ndarray, like: np.ndarray) -> np.ndarray:
    """uint8 (N, H, W, 3) `images`, every channel filtered so that their brightness has the spectrum of `like`.

    Each cosine component by the root of the ratio of mean squares; means stay. JPEG keeps the spectrum of brightness
    and cuts that of colour, so both are brought where brightness is.
    """
    wanted, there = (np.square(cosines(part @ LUMA)).mean(0) for part in (like, images))
    gain = np.sqrt(wanted / np.maximum(there, 1e-9))
    gain[0, 0] = 1.0
    filtered = fft.idctn(
        cosines(images.astype(np.float32)) * gain[..., None].astype(np.float32), axes=(1, 2), norm="ortho"
    )
    return np.clip(np.round(filtered), 0, 255).astype(np.uint8)


def cosines(images: np.ndarray) -> np.ndarray:
    """Orthonormal cosine transform over both axes of (N, H, W, ...)."""
    return fft.dctn(images, axes=(1, 2), norm="ortho")
