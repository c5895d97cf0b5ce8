"""The one interface every prior stands behind."""

from typing import Protocol, runtime_checkable

import torch


@runtime_checkable
class Denoiser(Protocol):
    """A prior over images, given by its posterior mean under Gaussian noise.

    Attributes:
        shape: (C, H, W) of its images.
        sigma_min, sigma_max: the noise range in which it may be asked; outside, samplers refuse or clamp and say so.
        num_classes: how many class labels it understands, 0 for none.
    """

    shape: tuple[int, int, int]
    sigma_min: float
    sigma_max: float
    num_classes: int

    def denoise(self, x: torch.Tensor, sigma: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        """E[x0 | x] for x = x0 + sigma z.

        Args:
            x: float32 (B, C, H, W), variance-exploding coordinates: the image itself in [-1, 1] plus noise.
            sigma: float32 (B,), > 0, the std of the noise per pixel on the [-1, 1] scale.
            labels: int64 (B,) in [0, num_classes), or None for the unconditional model.

        Returns:
            float32 (B, C, H, W).
        """
        ...
