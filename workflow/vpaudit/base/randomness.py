"""Randomness keyed by what it is for, never by where it stands in a batch (design invariant 1).

A key such as (seed, "fashion_mnist", 17, "mu=5", round 0, draw 3) is hashed to the seed of a generator of its own, so
shard size, batch size, job order and resuming cannot change a single draw. Noise is always made on the CPU.
"""

import hashlib
from collections.abc import Sequence

import torch


def seed_of(*key) -> int:
    """Hash a key of ints, strings and floats to 63 bits; floats count to 9 significant digits."""
    text = "\x1f".join(f"{part:.9g}" if isinstance(part, float) else str(part) for part in key)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(*key) -> torch.Generator:
    """A CPU generator for this key."""
    return torch.Generator().manual_seed(seed_of(*key))


class KeyedNoise:
    """Standard normal noise for a batch, one generator an image; each call gives the next step's noise.

    Args:
        keys: one key (a tuple) an image.
        shape: (C, H, W).
        device: where the noise is wanted.
    """

    def __init__(self, keys: Sequence[tuple], shape: Sequence[int], device: str | torch.device = "cpu"):
        self.generators = [generator(*key) for key in keys]
        self.shape, self.device = tuple(shape), device

    def __call__(self) -> torch.Tensor:
        """float32 (B, C, H, W)."""
        return torch.stack([torch.randn(self.shape, generator=g) for g in self.generators]).to(self.device)
