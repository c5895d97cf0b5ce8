"""A Gaussian prior in the cosine transform: closed form at sizes whose full covariance is too big.

x0 = m + sum_k c_k b_k with the orthonormal cosine basis b_k, colours first rotated onto their own principal axes.
Natural images are nearly stationary, so most c_k are nearly independent: c_k ~ N(0, l_k). What makes a face a face is
in the K coefficients of largest variance, whose covariance is kept in full: Q diag(l) Q'. The covariance of an image is
thus

    F' [ Q diag(l_1 .. l_K) Q'        0            ] F        F: colour rotation and cosine transform
       [       0            diag(l_K+1 .. l_CHW)   ]

and F' [Q 0; 0 1] are its eigenvectors, so that posterior mean, flow and samples are those of `GaussianPrior` in these
coordinates, in CHW (H + W) + K^2 operations and K^2 numbers where it needs (CHW)^2. Principal components of the images
with a spectrum for the rest would fit as well, but the two overlap, and the sum has no eigenvectors in closed form.

Where the training images are not many times K, the sample covariance S of the K coefficients is too far from
independence: it is shrunk, (1 - a) S + a diag(S), with the `a` of least expected squared error (Ledoit & Wolf 2003;
Schaefer & Strimmer 2005, target D).
"""

from pathlib import Path

import torch

from vpaudit.priors import cosine, weights

BLOCK = 256  # images
STRONGEST = 2048  # coefficients whose covariance is kept in full: 8 MB in float16
SAMPLES = 4096  # images whose coefficients are held at once for the shrinkage


class SpectralPrior:
    """A `Denoiser` in closed form.

    Args:
        mean: float32 (C, H, W); colours: (C, C), orthonormal rows; variances: (C, H, W), of the coefficients.
        places: int64 (K,), of the strongest coefficients in the flattened (C, H, W); basis: (K, K), orthonormal columns
            Q. Where they are given, `variances` holds at `places` those of the principal components Q'c instead.
    """

    sigma_min, sigma_max, num_classes = 0.0, float("inf"), 0

    def __init__(self, mean, colours, variances, places=None, basis=None):
        self.mean, self.colours, self.variances = mean, colours, variances
        self.places, self.basis = places, basis
        self.shape = tuple(mean.shape)

    @classmethod
    def fit(cls, images: torch.Tensor, strongest: int = 0) -> "SpectralPrior":
        """Mean, colour axes, coefficient variances, and the covariance of the `strongest`, of (N, C, H, W) images."""
        blocks = images.split(BLOCK)  # thousands of 256 x 256 images are too many for doubles at once
        mean = sum(block.double().sum(dim=0) for block in blocks) / len(images)
        flats = ((block.double() - mean).transpose(0, 1).flatten(1) for block in blocks)
        _, axes = torch.linalg.eigh(sum(flat @ flat.T for flat in flats))
        prior = cls(mean.float(), axes.T.contiguous(), torch.ones_like(mean))
        energies = (prior.transform(block.double() - mean).square().sum(dim=0) for block in blocks)
        prior.variances = (sum(energies) / len(images)).float()
        if strongest:
            prior._tie(images, min(strongest, mean.numel()))
        return prior

    def _tie(self, images: torch.Tensor, count: int) -> None:
        """Replace the variances of the `count` strongest coefficients by their covariance."""
        places = self.variances.flatten().topk(count).indices.sort().values
        parts = (self.transform(block - self.mean).flatten(1)[:, places] for block in images.split(BLOCK))
        values, basis = torch.linalg.eigh(shrunk_covariance(torch.cat(list(parts))).double())
        variances = self.variances.flatten().clone()
        variances[places] = values.clamp_min(0.0).float()
        self.variances, self.places, self.basis = variances.view(self.shape), places, basis.float().contiguous()

    def _parts(self, change) -> "SpectralPrior":
        parts = (self.mean, self.colours, self.variances, self.places, self.basis)
        return SpectralPrior(*(None if part is None else change(part) for part in parts))

    def to(self, device: str) -> "SpectralPrior":
        """The same on another device."""
        return self._parts(lambda part: part.to(device))

    def halved(self) -> "SpectralPrior":
        """With the basis rounded to float16, as `save(half=True)` writes it."""
        basis = None if self.basis is None else self.basis.half().float()
        return SpectralPrior(self.mean, self.colours, self.variances, self.places, basis)

    def save(self, folder: str | Path, card: dict, half: bool = False) -> None:
        """Write weights and card; half: the basis as float16."""
        tensors = {"mean": self.mean, "colours": self.colours, "variances": self.variances}
        if self.basis is not None:
            tensors |= {"places": self.places, "basis": self.basis.half() if half else self.basis}
        weights.write(folder, tensors, card)

    @classmethod
    def load(cls, folder: str | Path) -> "SpectralPrior":
        """Read what `save` wrote; a weight that does not match the card is refused."""
        found = weights.read(folder)
        basis = found["basis"].float() if "basis" in found else None
        return cls(found["mean"], found["colours"], found["variances"], found.get("places"), basis)

    def transform(self, x: torch.Tensor) -> torch.Tensor:
        """Orthonormal coefficients of (B, C, H, W), in its dtype."""
        return cosine.transform(torch.einsum("dc,bchw->bdhw", self.colours.to(x.dtype), x))

    def inverse(self, coefficients: torch.Tensor) -> torch.Tensor:
        """Back to images."""
        return torch.einsum("dc,bdhw->bchw", self.colours.to(coefficients.dtype), cosine.inverse(coefficients))

    def denoise(self, x, sigma, labels=None):
        """See `base.Denoiser`; the Wiener filter."""
        return self.mean + self._filter(x - self.mean, self.variances / (self.variances + _square(sigma)))

    def transport(self, x, now, then):
        """See `GaussianPrior.transport`."""
        ratio = (self.variances + _square(then)) / (self.variances + _square(now))
        return self.mean + self._filter(x - self.mean, ratio.sqrt())

    def colour(self, noise):
        """Standard normal (B, C, H, W) to the prior's covariance, about 0: mean + colour(noise) are its images."""
        return self._filter(noise, self.variances.sqrt())

    def posterior_mse(self, sigma: float) -> float:
        """See `GaussianPrior.posterior_mse`."""
        return float((self.variances * sigma**2 / (self.variances + sigma**2)).double().mean())

    def coordinates(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C H W) along the eigenvectors of the covariance, of x (B, C, H, W), in its dtype."""
        return self._turned(self.transform(x).flatten(1), lambda basis: basis)

    def image(self, coordinates: torch.Tensor) -> torch.Tensor:
        """The inverse of `coordinates`."""
        return self.inverse(self._turned(coordinates, lambda basis: basis.T).view(-1, *self.shape))

    def _turned(self, coefficients, turn):
        if self.basis is None:
            return coefficients
        strongest = coefficients[:, self.places] @ turn(self.basis.to(coefficients.dtype))
        return coefficients.index_copy(1, self.places, strongest)

    def _filter(self, x, gain):
        """`gain` (C, H, W) or (B, C, H, W) along the eigenvectors of the covariance."""
        return self.image(gain.to(x.dtype).reshape(-1, x[0].numel()) * self.coordinates(x))


def shrunk_covariance(x: torch.Tensor) -> torch.Tensor:
    """(K, K) covariance of centred samples (N, K), shrunk towards its diagonal.

    a = sum over i != j of Var(S_ij) over that of S_ij^2, Var(S_ij) = (mean of (x_i x_j)^2 - S_ij^2) / N.
    """
    count = len(x)
    covariance = x.T @ x / count
    fourth = sum(part.square().T @ part.square() for part in x.split(SAMPLES)) / count
    spread = (fourth - covariance.square()) / count
    apart = ~torch.eye(x.shape[1], dtype=torch.bool, device=x.device)
    share = (spread[apart].sum() / covariance[apart].square().sum().clamp_min(1e-30)).clamp(0, 1)
    return torch.where(apart, (1 - share) * covariance, covariance)


def _square(sigma: torch.Tensor) -> torch.Tensor:
    return sigma.reshape(-1, 1, 1, 1) ** 2
