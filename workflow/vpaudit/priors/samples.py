"""Images that a prior makes up: what it believes images to be."""

import numpy as np
import torch

from vpaudit.base import pixels
from vpaudit.base.denoiser import AnySize, Denoiser
from vpaudit.base.pixels import HIGH, LOW
from vpaudit.base.randomness import KeyedNoise
from vpaudit.sampling import samplers

SIDE = 64  # of the images of a prior of any size
START = 150.0  # the noise a chain starts from, at most: nothing of an image is left in it


def draw(prior: Denoiser, seed: int, ids, steps: int, order: int, labels: torch.Tensor | None = None) -> torch.Tensor:
    """(len(ids), C, H, W) images of the prior from its highest noise, or `START`; keyed by seed, id, steps and order.

    order 1 is the ancestral chain; labels None is unconditional.
    """
    shape = (prior.shape.channels, SIDE, SIDE) if isinstance(prior.shape, AnySize) else prior.shape
    keys = [(seed, "image of the prior", steps, order, int(i)) for i in ids]
    noise, start = KeyedNoise(keys, shape), min(prior.sigma_max, START)
    levels = samplers.noise_levels(torch.full((len(keys),), start), steps)

    def denoise(x, sigma):
        return prior.denoise(x, sigma, labels)

    chain = samplers.multistep_steps(denoise, start * noise(), levels, 1.0, noise, order)
    return samplers.last(chain).clamp(LOW, HIGH)


def sheet(images: torch.Tensor, columns: int) -> np.ndarray:
    """uint8 (rows H, columns W) or (rows H, columns W, 3): images (rows * columns, C, H, W) side by side."""
    tiles = pixels.to_uint8(images)
    height, width = tiles.shape[1:3]
    rows = len(tiles) // columns
    tiles = tiles[: rows * columns].reshape(rows, columns, height, width, *tiles.shape[3:])
    return tiles.swapaxes(1, 2).reshape(rows * height, columns * width, *tiles.shape[4:])
