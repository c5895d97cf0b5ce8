"""A Gaussian prior that is diagonal in the cosine transform: closed form at sizes whose full covariance is too big.

x0 = m + sum_k c_k b_k with the orthonormal cosine basis b_k and independent c_k ~ N(0, l_k), colours first rotated onto
their own principal axes. Natural images are nearly stationary, so this is close to their full covariance, and for N
pixels it needs N log N operations instead of N^2.
"""

from pathlib import Path

import numpy as np
import torch
from scipy.fft import dctn, idctn

from vpaudit.base.pixels import per_image
from vpaudit.priors import weights

BLOCK = 256  # images


class SpectralPrior:
    """A `Denoiser` in closed form.

    Args:
        mean: float32 (C, H, W); colours: (C, C), orthonormal rows; variances: float64 (C, H, W), of the coefficients.
    """

    sigma_min, sigma_max, num_classes = 0.0, float("inf"), 0

    def __init__(self, mean: torch.Tensor, colours: torch.Tensor, variances: torch.Tensor):
        self.mean, self.colours, self.variances = mean, colours, variances
        self.shape = tuple(mean.shape)

    @classmethod
    def fit(cls, images: torch.Tensor) -> "SpectralPrior":
        """Mean, colour axes and coefficient variances of float (N, C, H, W) images."""
        blocks = images.split(BLOCK)  # thousands of 256 x 256 images are too many for doubles at once
        mean = sum(block.double().sum(dim=0) for block in blocks) / len(images)
        flats = ((block.double() - mean).transpose(0, 1).flatten(1) for block in blocks)
        _, axes = torch.linalg.eigh(sum(flat @ flat.T for flat in flats))
        prior = cls(mean.float(), axes.T.contiguous(), torch.ones(images.shape[1:], dtype=torch.float64))
        energies = (prior.transform(block.double() - mean).square().sum(dim=0) for block in blocks)
        prior.variances = sum(energies) / len(images)
        return prior

    def save(self, folder: str | Path, card: dict) -> None:
        """Write weights and card."""
        weights.write(folder, {"mean": self.mean, "colours": self.colours, "variances": self.variances}, card)

    @classmethod
    def load(cls, folder: str | Path) -> "SpectralPrior":
        """Read what `save` wrote; a weight that does not match the card is refused."""
        tensors = weights.read(folder)
        return cls(tensors["mean"], tensors["colours"], tensors["variances"])

    def transform(self, x: torch.Tensor) -> torch.Tensor:
        """Orthonormal coefficients, float64, of (B, C, H, W)."""
        rotated = torch.einsum("dc,bchw->bdhw", self.colours, x.double())
        return torch.from_numpy(np.ascontiguousarray(dctn(rotated.numpy(), axes=(-2, -1), norm="ortho")))

    def inverse(self, coefficients: torch.Tensor) -> torch.Tensor:
        """Back to images, float64."""
        rotated = torch.from_numpy(np.ascontiguousarray(idctn(coefficients.numpy(), axes=(-2, -1), norm="ortho")))
        return torch.einsum("dc,bdhw->bchw", self.colours, rotated)

    def to(self, device: str) -> "SpectralPrior":
        """Itself: the cosine transform runs on the CPU alone; images of another device are brought there and back."""
        return self

    def denoise(self, x, sigma, labels=None):
        """See `base.Denoiser`; the Wiener filter."""
        return self._filter(x, self.variances / (self.variances + _square(sigma)))

    def transport(self, x, now, then):
        """See `GaussianPrior.transport`."""
        return self._filter(x, ((self.variances + _square(then)) / (self.variances + _square(now))).sqrt())

    def _filter(self, x, gain):
        return (self.mean + self.inverse(gain * self.transform(x.cpu() - self.mean))).to(x.device, x.dtype)


def _square(sigma: torch.Tensor) -> torch.Tensor:
    return per_image(sigma.cpu().double() ** 2)


def frequency(height: int, width: int) -> np.ndarray:
    """(H, W): radial frequency of each cosine in cycles an image, the same for the same pattern at every size."""
    across, down = np.arange(width) / 2, np.arange(height) / 2
    return np.hypot(down[:, None], across[None])
