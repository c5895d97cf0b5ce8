"""The one interface every prior stands behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:  # folders of priors are looked into without torch
    import torch


@dataclass(frozen=True)
class AnySize:
    """In the place of (C, H, W): images of `channels` channels, their sides anything from `low` to `high` pixels."""

    channels: int
    low: int = 32
    high: int = 512

    def accepts(self, shape: Sequence[int]) -> bool:
        """Whether an image of this (C, H, W) is one of them."""
        channels, *sides = shape
        return channels == self.channels and all(self.low <= side <= self.high for side in sides)

    def __str__(self) -> str:
        return f"{self.channels} channels, any size from {self.low} to {self.high}"


Shape = tuple[int, int, int] | AnySize


def accepts(own: Shape, shape: Sequence[int]) -> bool:
    """Whether a prior of shape `own` takes images of this (C, H, W)."""
    return own.accepts(shape) if isinstance(own, AnySize) else tuple(own) == tuple(shape)


def shape_from_card(written: list[int] | dict[str, int]) -> Shape:
    """A prior's shape as its card.json holds it: [C, H, W], or the fields of `AnySize`."""
    return AnySize(**written) if isinstance(written, dict) else tuple(written)


def shape_for_card(own: Shape) -> list[int] | dict[str, int]:
    """The inverse of `shape_from_card`."""
    return vars(own) if isinstance(own, AnySize) else list(own)


@runtime_checkable
class Denoiser(Protocol):
    """A prior over images, given by its posterior mean under Gaussian noise.

    Attributes:
        shape: (C, H, W) of its images, or `AnySize`.
        sigma_min, sigma_max: the noise range in which it may be asked; outside, samplers refuse or clamp and say so.
        num_classes: how many class labels it understands, 0 for none.
    """

    shape: Shape
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
