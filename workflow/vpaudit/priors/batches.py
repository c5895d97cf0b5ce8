"""Where a training step takes its images from: a data set of one shape, or photographs seen at several scales."""

from collections.abc import Sequence

import torch

from vpaudit.base.denoiser import Shape
from vpaudit.base.pixels import floated
from vpaudit.base.randomness import generator
from vpaudit.priors import gaussian
from vpaudit.priors.gaussian import GaussianPrior
from vpaudit.priors.radial import RadialPrior
from vpaudit.priors.spectral import SpectralPrior

SIDES = (64, 128)  # of crops
MOST = 512  # images that the radial Gaussian prior is fitted to at each scale


class Labelled:
    """Images of one shape; every epoch visits each once, in an order of its own.

    Args:
        images: (N, C, H, W), uint8, or float32 in [-1, 1]; labels: int64 (N,), any where num_classes is 0.
    """

    def __init__(self, images: torch.Tensor, labels: torch.Tensor, num_classes: int, device: str | torch.device):
        self.images, self.labels, self.num_classes = images.to(device), labels.to(device), num_classes
        self.shape: Shape = tuple(images.shape[1:])
        self._epoch, self._order = -1, torch.empty(0)

    def __len__(self) -> int:
        return len(self.images)

    def places(self, step: int, size: int, seed: int) -> torch.Tensor:
        """int64 (size,): which images step number `step` takes."""
        epoch, place = divmod(step, max(1, len(self) // size))
        if epoch != self._epoch:
            self._order = torch.randperm(len(self), generator=generator(seed, "epoch", epoch))
            self._epoch = epoch
        return self._order[place * size : (place + 1) * size]

    def batch(self, step: int, size: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        """float32 images (B, C, H, W) and labels (B,) of a step, B = size or all that there are."""
        places = self.places(step, size, seed).to(self.images.device)
        return floated(self.images[places]), self.labels[places]

    def some(self, count: int) -> torch.Tensor:
        """float32 (at most count, C, H, W), spread over all of them, since they are often sorted by class."""
        places = torch.linspace(0, len(self) - 1, min(count, len(self))).long()
        return floated(self.images[places.to(self.images.device)])

    def whole(self) -> torch.Tensor:
        """(N, C, H, W), uint8 or float32: what its samples may be compared with."""
        return self.images

    def gaussian(self) -> GaussianPrior | SpectralPrior:
        """The Gaussian prior of these images, rounded as it will be stored."""
        return gaussian.fit(floated(self.images)).halved()


class Scales:
    """Photographs of several sizes: crops of them as they are and reduced by whole factors, small ones whole.

    Args:
        pools: uint8 (N, 3, H, W) each, H and W at least 32; every pool is drawn from alike.
    """

    num_classes = 0

    def __init__(self, pools: Sequence[torch.Tensor], device: str | torch.device):
        self.pools = [pool.to(device) for pool in pools]
        self._gaussian = self._fitted()
        self.shape: Shape = self._gaussian.shape

    def __len__(self) -> int:
        return sum(len(pool) for pool in self.pools)

    def batch(self, step: int, size: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        """As `Labelled.batch`; of one scale, and as many images as have the pixels of `size` images of 64 x 64."""
        rng = generator(seed, "scales", step)
        pool = self.pools[_one_of(len(self.pools), rng)]
        least = min(pool.shape[2:])
        side = min(SIDES[_one_of(len(SIDES), rng)], least)
        factor = 1 + _one_of(least // side, rng)
        found = _crops(pool, max(1, size * SIDES[0] ** 2 // side**2), side, factor, rng)
        return found, torch.zeros(len(found), dtype=torch.int64, device=found.device)

    def some(self, count: int) -> torch.Tensor:
        """float32 (count, 3, 64, 64): crops of the first pool, at its scales in turn."""
        return scaled(self.pools[0], count, SIDES[0])

    def whole(self) -> torch.Tensor:
        """float32 (N, 3, 64, 64): every image that a whole factor, or none, brings to this size."""
        pools = [pool for pool in self.pools if min(pool.shape[2:]) % SIDES[0] == 0]
        parts = [reduce(floated(pool), min(pool.shape[2:]) // SIDES[0]) for pool in pools]
        return torch.cat([part[..., : SIDES[0], : SIDES[0]] for part in parts])

    def gaussian(self) -> RadialPrior:
        """The radial Gaussian prior: of every pool at full size, and of the first at its reductions."""
        return self._gaussian

    def _fitted(self) -> RadialPrior:
        first = self.pools[0]
        reduced = [reduce(floated(first[:MOST]), factor) for factor in (2, 4) if min(first.shape[2:]) >= 32 * factor]
        return RadialPrior.fit([*(floated(pool[:MOST]) for pool in self.pools), *reduced])


def scaled(pool: torch.Tensor, count: int, side: int, seed: int = 0) -> torch.Tensor:
    """float32 (count, C, side, side): crops of uint8 (N, C, H, W), equally many at each scale that holds one."""
    factors = range(1, min(pool.shape[2:]) // side + 1)
    parts = [
        _crops(pool, -(-count // len(factors)), side, factor, generator(seed, "crops", factor)) for factor in factors
    ]
    return torch.cat(parts)[:count]


def reduce(images: torch.Tensor, factor: int) -> torch.Tensor:
    """Means of factor x factor pixels."""
    return torch.nn.functional.avg_pool2d(images, factor) if factor > 1 else images


def _one_of(count: int, rng: torch.Generator) -> int:
    return int(torch.randint(count, (), generator=rng))


def _crops(pool: torch.Tensor, count: int, side: int, factor: int, rng: torch.Generator) -> torch.Tensor:
    """float32 (count, C, side, side): squares of `factor * side` pixels anywhere in random images, reduced."""
    width = factor * side
    windows = pool.unfold(2, width, 1).unfold(3, width, 1)  # a view
    places = [
        torch.randint(size, (count,), generator=rng).to(pool.device)
        for size in (len(pool), windows.shape[2], windows.shape[3])
    ]
    return reduce(floated(windows[places[0], :, places[1], places[2]]), factor)
