"""Images that a prior makes up: what it believes images to be."""

import math

import numpy as np
import torch

from vpaudit.base import pixels
from vpaudit.base.denoiser import Denoiser
from vpaudit.base.pixels import HIGH, LOW, per_image
from vpaudit.base.randomness import KeyedNoise
from vpaudit.sampling import samplers


def draw(prior: Denoiser, seed: int, ids, steps: int, order: int, labels: torch.Tensor | None = None) -> torch.Tensor:
    """(len(ids), C, H, W) images of the prior from its highest noise; keyed by seed, id, steps and order.

    order 1 is the ancestral chain; labels None is unconditional.
    """
    keys = [(seed, "image of the prior", steps, order, int(i)) for i in ids]
    noise, start = KeyedNoise(keys, prior.shape), torch.full((len(keys),), float(prior.sigma_max))
    levels = samplers.noise_levels(start, steps)

    def denoise(x, sigma):
        return prior.denoise(x, sigma, labels)

    chain = samplers.multistep_steps(denoise, prior.sigma_max * noise(), levels, 1.0, noise, order)
    return samplers.last(chain).clamp(LOW, HIGH)


def sheet(prior: Denoiser, per_class: int = 8, steps: int = 40, seed: int = 0) -> np.ndarray:
    """uint8 (rows H, columns W): a row of samples a class, then one of the unconditional model."""
    count = (prior.num_classes + 1) * per_class
    start = torch.full((count,), min(40.0, prior.sigma_max))
    noise = KeyedNoise([(seed, "sample sheet", i) for i in range(count)], prior.shape)
    x, levels = per_image(start) * noise(), samplers.noise_levels(start, steps)
    labels = torch.arange(count) // per_class  # the last row's label is the null class
    x = samplers.last(
        samplers.ddim_steps(lambda state, sigma: prior.denoise(state, sigma, labels), x, levels, 1.0, noise)
    )
    tiles = pixels.to_uint8(x)
    height, width = tiles.shape[1:3]
    rows = math.ceil(count / per_class)
    tiles = tiles.reshape(rows, per_class, height, width, *tiles.shape[3:])
    return tiles.swapaxes(1, 2).reshape(rows * height, per_class * width, *tiles.shape[4:])
