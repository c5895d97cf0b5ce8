"""A Gaussian prior of photographs of any size: a power spectrum that depends on radial frequency alone.

Seen at any scale, natural images have nearly the same spectrum in cycles a pixel (Field 1987; Ruderman & Bialek 1994),
so one curve for each colour axis serves all sizes. At each size it is a `SpectralPrior`: the coefficient (i, j) of an
H x W image has the frequency f = sqrt((i / 2H)^2 + (j / 2W)^2) and the variance S(f), log S being linear in log f
between knots; that of frequency 0 is the image's mean times sqrt(H W), whose variance is kept apart.
"""

from collections.abc import Sequence
from pathlib import Path

import torch

from vpaudit.base.denoiser import AnySize
from vpaudit.priors import weights
from vpaudit.priors.spectral import BLOCK, SpectralPrior

KNOTS = 32  # log-spaced frequencies from half a cycle in 512 pixels to the corner of the spectrum
LOWEST, HIGHEST = 1 / 1024, 0.5**0.5


def cycles_a_pixel(height: int, width: int) -> torch.Tensor:
    """float64 (H, W), 0 for the mean."""
    down, across = (torch.arange(side, dtype=torch.float64) / (2 * side) for side in (height, width))
    return torch.hypot(down[:, None], across[None])


def hats(height: int, width: int) -> torch.Tensor:
    """float64 (H W - 1, KNOTS): weights of the knots at each frequency above 0, linear in its logarithm."""
    span = torch.tensor(HIGHEST / LOWEST, dtype=torch.float64).log()
    place = (cycles_a_pixel(height, width).flatten()[1:] / LOWEST).log() / span * (KNOTS - 1)
    return (1 - (place.clamp(0, KNOTS - 1)[:, None] - torch.arange(KNOTS)).abs()).clamp_min(0)


class RadialPrior:
    """A `Denoiser` in closed form.

    Args:
        mean: float32 (C, 1, 1); colours: float64 (C, C), orthonormal rows.
        spectrum: float64 (C, KNOTS), log variance of a coefficient; level: float64 (C,), variance of an image's mean.
    """

    sigma_min, sigma_max, num_classes = 0.0, float("inf"), 0

    def __init__(self, mean, colours, spectrum, level):
        self.mean, self.colours, self.spectrum, self.level = mean, colours, spectrum, level
        self.shape = AnySize(len(mean))
        self._known: dict[tuple, SpectralPrior] = {}

    @classmethod
    def fit(cls, pools: Sequence[torch.Tensor]) -> "RadialPrior":
        """From images of several sizes or scales, each pool float (N, C, H, W); every pool counts alike."""
        means = [pool.mean((0, 2, 3), dtype=torch.float64).cpu() for pool in pools]
        mean = torch.stack(means).mean(0)[:, None, None]
        _, axes = torch.linalg.eigh(sum(_channels(pool, mean) for pool in pools))
        colours = axes.T.contiguous()
        energy = mass = level = torch.zeros(())
        for pool in pools:
            seen = _energies(pool, mean, colours)  # (C, H W)
            share = hats(*pool.shape[2:])
            share = share / len(share)
            energy, mass = energy + seen[:, 1:] @ share, mass + share.sum(0)
            level = level + seen[:, 0] / seen.shape[1] / len(pools)
        return cls(mean.float(), colours, _filled(energy, mass), level)

    @torch.inference_mode(False)  # what is kept is also used where gradients are wanted
    def at(self, height: int, width: int) -> SpectralPrior:
        """The prior of one size; kept."""
        if (height, width) not in self._known:
            above = torch.exp(self.spectrum @ hats(height, width).T.to(self.spectrum.device))
            variances = torch.cat([self.level[:, None] * height * width, above], dim=1).view(-1, height, width)
            mean = self.mean.expand(-1, height, width)
            self._known[height, width] = SpectralPrior(mean, self.colours, variances.float())
        return self._known[height, width]

    def denoise(self, x, sigma, labels=None):
        """See `base.Denoiser`; the Wiener filter."""
        return self.at(*x.shape[2:]).denoise(x, sigma)

    def transport(self, x, now, then):
        """See `GaussianPrior.transport`."""
        return self.at(*x.shape[2:]).transport(x, now, then)

    def colour(self, noise):
        """See `SpectralPrior.colour`."""
        return self.at(*noise.shape[2:]).colour(noise)

    def to(self, device: str) -> "RadialPrior":
        """The same on another device."""
        return RadialPrior(*(part.to(device) for part in (self.mean, self.colours, self.spectrum, self.level)))

    def halved(self) -> "RadialPrior":
        """Itself: it is small."""
        return self

    def save(self, folder: str | Path, card: dict, half: bool = False) -> None:
        """Write weights and card."""
        tensors = {"mean": self.mean, "colours": self.colours, "spectrum": self.spectrum, "level": self.level}
        weights.write(folder, tensors, card)

    @classmethod
    def load(cls, folder: str | Path) -> "RadialPrior":
        """Read what `save` wrote; a weight that does not match the card is refused."""
        found = weights.read(folder)
        return cls(found["mean"], found["colours"], found["spectrum"], found["level"])


def _channels(pool: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
    """float64 (C, C): mean products of the channels about `mean`."""
    flats = ((part.double() - mean.to(part.device)).transpose(0, 1).flatten(1) for part in pool.split(BLOCK))
    return sum(flat @ flat.T for flat in flats).cpu() / pool[:, 0].numel()


def _energies(pool: torch.Tensor, mean: torch.Tensor, colours: torch.Tensor) -> torch.Tensor:
    """float64 (C, H W): mean square of each coefficient; computed where the pool is."""
    prior = SpectralPrior(mean.to(pool.device), colours.to(pool.device), mean)
    parts = (prior.transform(part - prior.mean.float()) for part in pool.split(BLOCK))
    return (sum(part.square().sum(0, dtype=torch.float64) for part in parts) / len(pool)).flatten(1).cpu()


def _filled(energy: torch.Tensor, mass: torch.Tensor) -> torch.Tensor:
    """Log of energy over mass; below the first and above the last knot that has images, on along the slope there."""
    seen = torch.nonzero(mass > 1e-9)[:, 0]
    known = (energy[:, seen] / mass[seen]).clamp_min(1e-12).log()
    knots = torch.arange(len(mass))
    right = torch.searchsorted(seen, knots).clamp(1, len(seen) - 1)
    share = (knots - seen[right - 1]) / (seen[right] - seen[right - 1])
    return known[:, right - 1] + share * (known[:, right] - known[:, right - 1])
