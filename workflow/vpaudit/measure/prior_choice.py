"""Which of several priors knows some images best: the error each leaves after releases of equal privacy.

Priors differ in size and colour, so each is asked as an audit would ask it: the images are brought to its shape and
released at the same mu, noise of |x| / mu a pixel; its posterior mean is brought back to the images' own shape, where
all are compared. A prior of smaller images pays there for the detail it cannot hold, and one of larger images gains
nothing by them, as noise grows with an image's norm.

The best may still know nothing of them. Then it is worse than a Gaussian prior of the images' own radial spectrum, or
its error on them is far above that on images of its own kind.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from vpaudit.base.denoiser import Denoiser
from vpaudit.base.pixels import HIGH, LOW, per_image
from vpaudit.base.randomness import KeyedNoise
from vpaudit.measure import prior_mismatch
from vpaudit.priors.radial import RadialPrior

MU = (5.0, 20.0, 100.0, 500.0)  # from where hardly anything is seen to where all but detail is
IMAGES = 16  # with these mu as many as one call of a network holds
WORSE = 1.1  # times the error of the images' own spectrum: from there on a prior does not know them,
STRANGE = 1.5  # nor if its error is so many times that on its own kind, at any mu


@dataclass(frozen=True)
class Score:
    """How well a prior knows some images, at each of `MU`.

    Attributes:
        errors: mean squared error per pixel at the images' own shape; to_own_kind: that at the prior's shape, over the
            error on images of its own kind at the same noise, empty where its card does not give that.
    """

    errors: list[float]
    to_own_kind: list[float]

    @property
    def mean(self) -> float:
        """Geometric mean of the errors: a tenth less counts alike at much and at little noise."""
        return float(np.exp(np.mean(np.log(self.errors))))

    def knows(self, spectrum: "Score") -> bool:
        """Whether these are images of a kind that the prior knows; spectrum: what `own_spectrum` gives."""
        worst = max(own / usual for own, usual in zip(self.errors, spectrum.errors))
        return worst <= WORSE and max(self.to_own_kind, default=0) <= STRANGE


def brought(images: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """(N, C, H, W) in [-1, 1] to another (C, H, W); grey from colour is the mean of its channels."""
    channels, height, width = shape
    if channels == 1:
        images = images.mean(1, keepdim=True)
    images = images.expand(-1, channels, -1, -1)
    if images.shape[2:] != (height, width):
        images = torch.nn.functional.interpolate(images, (height, width), mode="bicubic", antialias=True)
    return images.clamp(LOW, HIGH)


@dataclass(frozen=True)
class Asked:
    """A prior asked for some images: x, estimate float32 (M N, C, H, W) at its shape, sigma (M N,), mu by mu."""

    x: torch.Tensor
    sigma: torch.Tensor
    estimate: torch.Tensor
    mus: int

    def errors(self, images: torch.Tensor) -> np.ndarray:
        """float64 (M, N): mean squared error per pixel, at the shape of the images (N, C', H', W')."""
        wanted = images.repeat(self.mus, 1, 1, 1)
        return self._by_mu((brought(self.estimate, images.shape[1:]) - wanted).square())

    def own_errors(self) -> np.ndarray:
        """float64 (M, N): the same at the prior's shape."""
        return self._by_mu((self.estimate - self.x).square())

    def _by_mu(self, squares: torch.Tensor) -> np.ndarray:
        return squares.double().flatten(1).mean(1).reshape(self.mus, -1).numpy()


def ask(prior: Denoiser, shape: Sequence[int], images: torch.Tensor, seed: int, mus: Sequence[float] = MU) -> Asked:
    """Posterior means after releases at each mu.

    Args:
        shape: (C, H, W) at which the prior is asked; it sees no more noise than it knows, which costs it nothing.
        images: float32 (N, C', H', W') in [-1, 1].
    """
    x = brought(images, shape).repeat(len(mus), 1, 1, 1)
    mu = torch.tensor(mus).repeat_interleave(len(images))
    sigma = (x.flatten(1).norm(dim=1) / mu).clamp(max=prior.sigma_max)
    keys = [(seed, "prior choice", float(m), i % len(images)) for i, m in enumerate(mu)]
    noise = KeyedNoise(keys, x.shape[1:])()
    return Asked(x, sigma, prior.denoise(x + per_image(sigma) * noise, sigma), len(mus))


def score(prior: Denoiser, shape: Sequence[int], images: torch.Tensor, seed: int, card: dict | None = None) -> Score:
    """Of a prior on some images: see `ask`; card: the prior's, for its error on images of its own kind."""
    asked = ask(prior, shape, images, seed)
    errors = asked.errors(images).mean(1).tolist()
    usual = prior_mismatch.usual(card or {}, prior, shape)
    if not usual:
        return Score(errors, [])
    levels, values = np.log(list(usual.items())).T
    own = np.exp(np.interp(asked.sigma.log().numpy(), levels, values)).reshape(len(MU), -1)
    return Score(errors, (asked.own_errors().mean(1) / own.mean(1)).tolist())


def spectrum_errors(images: torch.Tensor, seed: int, mus: Sequence[float] = MU) -> np.ndarray:
    """float64 (M, N): of a Gaussian prior that knows the images' mean level, colours and radial spectrum.

    It is fitted to every other image and asked for the rest, both ways: fitted to the very images, it would know at
    much noise more of them than of their kind.
    """
    found = np.empty((len(mus), len(images)))
    for own, other in ((0, 1), (1, 0)):
        part, fitted = images[own::2], RadialPrior.fit([images[other::2]])
        found[:, own::2] = ask(fitted, images.shape[1:], part, seed, mus).errors(part)
    return found


def own_spectrum(images: torch.Tensor, seed: int) -> Score:
    """The score of such a Gaussian; at least two images."""
    return Score(spectrum_errors(images, seed).mean(1).tolist(), [])
