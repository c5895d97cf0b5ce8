"""The Gaussian prior: x0 ~ N(m, U diag(l) U'), whose posterior is known exactly. Baseline (Wiener filter) and oracle.

Given x = x0 + sigma z:  E[x0 | x] = m + U diag(l / (l + sigma^2)) U' (x - m)
                         Cov[x0 | x] = U diag(l sigma^2 / (l + sigma^2)) U'
"""

from collections.abc import Sequence
from pathlib import Path

import torch

from vpaudit.priors import weights
from vpaudit.priors.radial import RadialPrior
from vpaudit.priors.spectral import STRONGEST, SpectralPrior


class GaussianPrior:
    """A `Denoiser` in closed form.

    Args:
        mean: (C, H, W).
        basis: (D, D), orthonormal columns U.
        variances: (D,), eigenvalues l >= 0.
    """

    sigma_min, sigma_max, num_classes = 0.0, float("inf"), 0

    def __init__(self, mean: torch.Tensor, basis: torch.Tensor, variances: torch.Tensor):
        self.mean, self.basis, self.variances = mean, basis, variances.clamp_min(0.0)
        self.shape = tuple(mean.shape)

    @classmethod
    def fit(cls, images: torch.Tensor) -> "GaussianPrior":
        """Mean and covariance (1/N) of float (N, C, H, W) images, in double precision."""
        flat = images.flatten(1).double()
        mean = flat.mean(dim=0)
        centred = flat - mean
        variances, basis = torch.linalg.eigh(centred.T @ centred / len(flat))
        return cls(mean.view(images.shape[1:]).float(), basis.float(), variances.float())

    def to(self, device: str) -> "GaussianPrior":
        """The same on another device."""
        return GaussianPrior(self.mean.to(device), self.basis.to(device), self.variances.to(device))

    def halved(self) -> "GaussianPrior":
        """With the basis rounded to float16, as `save(half=True)` writes it: half the size, U U' off by some 3e-4."""
        return GaussianPrior(self.mean, self.basis.half().float(), self.variances)

    def denoise(self, x, sigma, labels=None):
        """See `base.Denoiser`; the mean of the Gaussian posterior."""
        gain = self.variances / (self.variances + sigma[:, None] ** 2)
        return self._filter(x, gain)

    def transport(self, x, now, then):
        """x at noise `now` (B,) along the deterministic flow to noise `then` (B,), in closed form.

        dx/dsigma = (x - E[x0 | x]) / sigma keeps U'(x - m) / sqrt(l + sigma^2).
        """
        ratio = (self.variances + then[:, None] ** 2) / (self.variances + now[:, None] ** 2)
        return self._filter(x, ratio.sqrt())

    def colour(self, noise, std=None):
        """Standard normal (B, C, H, W) to covariance U diag(std^2) U'; std (D,) or (B, D), by default the prior's."""
        std = self.variances.sqrt() if std is None else std
        return ((noise.flatten(1) @ self.basis * std) @ self.basis.T).view_as(noise)

    def posterior_mse(self, sigma: float) -> float:
        """E |x0 - E[x0 | x]|^2 / D, the mmse per pixel at this noise."""
        return float((self.variances * sigma**2 / (self.variances + sigma**2)).double().mean())

    def coordinates(self, x: torch.Tensor) -> torch.Tensor:
        """(B, D) along the eigenvectors, of x (B, C, H, W) less the mean or not, in its dtype."""
        return x.flatten(1) @ self.basis.to(x.dtype)

    def image(self, coordinates: torch.Tensor) -> torch.Tensor:
        """The inverse of `coordinates`."""
        return (coordinates @ self.basis.T.to(coordinates.dtype)).view(-1, *self.shape)

    def _filter(self, x, gain):
        return self.mean + self.image(self.coordinates(x - self.mean) * gain)

    def save(self, folder: str | Path, card: dict, half: bool = False) -> None:
        """Write weights and card; half: the basis as float16."""
        basis = self.basis.half() if half else self.basis
        weights.write(folder, {"mean": self.mean, "basis": basis, "variances": self.variances}, card)

    @classmethod
    def load(cls, folder: str | Path) -> "GaussianPrior":
        """Read what `save` wrote; a weight that does not match the card is refused."""
        tensors = weights.read(folder)
        return cls(tensors["mean"], tensors["basis"].float(), tensors["variances"])


FULL_COVARIANCE = 1024  # values an image up to which a basis of its own is kept: 4 MB; above, the cosine transform


def fit(images: torch.Tensor) -> GaussianPrior | SpectralPrior:
    """The Gaussian prior of (N, C, H, W) images: of full covariance where that fits, else `SpectralPrior`."""
    if images[0].numel() <= FULL_COVARIANCE:
        return GaussianPrior.fit(images)
    return SpectralPrior.fit(images, STRONGEST)


def load(folder: str | Path) -> GaussianPrior | SpectralPrior | RadialPrior:
    """A Gaussian prior of whichever kind, as its weights tell."""
    found = weights.read(folder)
    kind = RadialPrior if "spectrum" in found else SpectralPrior if "colours" in found else GaussianPrior
    return kind.load(folder)


def sized(prior, shape: Sequence[int]) -> GaussianPrior | SpectralPrior:
    """The prior; one of any size, at that of images of this (C, H, W)."""
    return prior.at(*shape[1:]) if isinstance(prior, RadialPrior) else prior


def known_images(prior, images: torch.Tensor, count: int | None) -> int:
    """How many of (N, C, H, W) images a Gaussian was fitted to, as far as it shows.

    All, where its mean is theirs. Fitted to fewer images than it has dimensions, it has variance in `count` - 1
    directions only, in which each of its images lies whole, and others do not.

    Args:
        count: how many images it was fitted to; None if nobody knows.
    """
    if (images.mean(0) - prior.mean).abs().max() < 1e-4:
        return len(images)
    if count is None or not isinstance(prior, GaussianPrior):
        return 0
    supported = prior.variances > 1e-10 * prior.variances.max()
    if supported.sum() >= min(count, prior.mean.numel()):
        return 0
    centred = (images - prior.mean).flatten(1).double()
    inside = (centred @ prior.basis[:, supported].double()).square().sum(1) / centred.square().sum(1)
    return int((inside > 0.999).sum()) if supported.sum() > 0.9 * (count - 1) else 0
