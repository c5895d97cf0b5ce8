"""Images that a network's noisy clipped gradient and a diffusion prior allow: p(x | y) ~ p(x) N(y; f(x), sigma^2 I).

The adversary knows the weights, the class, and the rest of the batch, whose clipped gradients it has subtracted. Noise
is annealed from above all structure down to a grey level, and each level is decoupled from the one before (Zhang et
al. 2407.01521): from x_t = x0 + s_t z an x0 is drawn from p(x0 | x_t, y), and fresh noise of the next level is added to
it. Whatever the number of levels, the chain is exact if that draw is.

Given x_t the image is taken as normal, with the prior's own mean D(x_t, s_t) and a covariance V of the form that a
Gaussian prior has at that noise, c U diag(l s_t^2 / (l + s_t^2)) U'. The trace of the prior's own covariance is s_t^2
div D (Tweedie), so c says how much surer it is than the Gaussian; a difference of D along one random vector estimates
it. A draw is then the x0 = D + V^1/2 u that minimises

    |u - e|^2 + |f(x0) - y - sigma e'|^2 / sigma^2,    e, e' standard normal

(randomised maximum likelihood, Oliver et al. 1996), by Gauss-Newton steps whose linear systems conjugate gradients
solve through products with df/dx. Both are exact where f is linear and the prior normal, and approximations elsewhere.
"""

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, cg

from vpaudit.base.denoiser import Denoiser, accepts
from vpaudit.base.errors import VpauditError
from vpaudit.base.randomness import KeyedNoise
from vpaudit.opacus.clipped import ClippedGradient, Derivative
from vpaudit.opacus.leak import Gaussian
from vpaudit.sampling.samplers import noise_levels

LEAST_NOISE = 1e-4  # of C: what an adversary takes sigma for where there is none
DIFFERENCE, SUREST = 0.1, 1e-3  # step of a difference of D, of the noise level; the least c
HALVINGS = 4  # of a Gauss-Newton step that does not descend


@dataclass(frozen=True)
class Effort:
    """How long to try.

    Attributes:
        levels: noise levels, each two network evaluations of the prior, >= 1; start: the first, > 0.
        newton: Gauss-Newton steps a level; products: products with df/dx and its transpose in each, at most.
    """

    levels: int = 24
    start: float = 40.0
    newton: int = 1
    products: int = 4


DEFAULT = Effort()


@dataclass(frozen=True)
class Adversary:
    """What is known beside the gradient.

    Attributes:
        prior: over images; gaussian: of the same images and shape.
        conditional: whether the prior is told the class, if it knows classes.
    """

    prior: Denoiser
    gaussian: Gaussian
    conditional: bool = True

    def __post_init__(self):
        if not accepts(self.prior.shape, self.gaussian.shape):
            raise VpauditError(
                f"a prior of {self.prior.shape} and a Gaussian prior of {self.gaussian.shape}", "give two of one shape"
            )

    def mean(self, x: torch.Tensor, level: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """D(x_t, s_t) of one image (C, H, W), in its dtype."""
        labels = label if self.conditional and self.prior.num_classes else None
        asked = x[None] if self.prior is self.gaussian else x[None].float()
        return self.prior.denoise(asked, level[None].to(asked.dtype), labels)[0].to(x)

    def sureness(self, x, level, label, mean: torch.Tensor, probe: torch.Tensor) -> float:
        """c in (0, 1]: the trace of the prior's covariance given x_t, over the Gaussian's; probe: (C, H, W) of +-1."""
        if self.prior is self.gaussian:
            return 1.0
        nearby = self.mean(x + DIFFERENCE * level * probe, level, label)
        divergence = float((probe * (nearby - mean)).double().sum() / (DIFFERENCE * level))
        variances = self.gaussian.variances.double()
        return min(max(divergence / float((variances / (variances + float(level) ** 2)).sum()), SUREST), 1.0)


def posterior_samples(
    gradient: ClippedGradient, seen: torch.Tensor, sigma: float, adversary: Adversary, key: tuple, draws: int = 1,
    effort: Effort = DEFAULT,
) -> torch.Tensor:  # fmt: skip
    """Samples of the posterior, (draws, C, H, W) in the dtype of `seen`, not clipped to [-1, 1].

    Args:
        seen: (P,) f(x) + sigma z, what is left of the noisy sum when the rest of the batch is subtracted.
        sigma: std of the noise, >= 0. key: names the image; a draw depends on its number and on nothing beside it.
    """
    sigma = max(sigma, LEAST_NOISE * float(np.linalg.norm(gradient.limits)))
    levels = noise_levels(torch.tensor([effort.start]), effort.levels)[0].to(seen)
    return torch.stack([
        _sample(gradient, seen, sigma, adversary, (*key, "draw", k), levels, effort) for k in range(draws)
    ])  # fmt: skip


def _sample(gradient, seen, sigma: float, adversary: Adversary, key: tuple, levels, effort: Effort) -> torch.Tensor:
    gaussian = adversary.gaussian
    pixels, coordinates = (
        KeyedNoise([(*key, kind)], shape) for kind, shape in (("image", gaussian.shape), ("gradient", seen.shape))
    )
    x = gaussian.mean.to(seen) + Spread(gaussian).image(pixels()[0].to(seen)) + levels[0] * pixels()[0].to(seen)
    for now, then in itertools.pairwise(levels):
        centre = adversary.mean(x, now, gradient.label)
        target = seen + sigma * coordinates()[0].to(seen)
        sureness = adversary.sureness(x, now, gradient.label, centre, pixels()[0].sign().to(seen))
        spread = Spread(gaussian, float(now), sureness)
        draw = Draw(gradient, target, sigma, centre, spread, pixels()[0].to(seen))
        x = draw.nearest(effort) + then * pixels()[0].to(seen)
    return x


class Spread:
    """V^1/2 at a noise level s_t and c, S^1/2 without these: from coordinates to images, both (C, H, W), and back."""

    def __init__(self, gaussian: Gaussian, level: float = float("inf"), sureness: float = 1.0):
        variances = gaussian.variances.flatten().double()
        self.gaussian, self.root = gaussian, (sureness * variances / (1 + variances / level**2)).sqrt()

    def image(self, u: torch.Tensor) -> torch.Tensor:
        """V^1/2 u."""
        return self.gaussian.image(u.reshape(1, -1) * self.root.to(u))[0]

    def coordinates(self, x: torch.Tensor) -> torch.Tensor:
        """Its transpose, times an image."""
        return (self.gaussian.coordinates(x[None]).reshape(-1) * self.root.to(x)).view(x.shape)


@dataclass(frozen=True)
class Draw:
    """One draw from p(x0 | x_t, y): what is minimised over u, in the names of the head of this module.

    Attributes:
        target: (P,) y + sigma e'; centre: (C, H, W) D(x_t, s_t); spread: V^1/2; e: (C, H, W).
    """

    gradient: ClippedGradient
    target: torch.Tensor
    sigma: float
    centre: torch.Tensor
    spread: Spread
    e: torch.Tensor

    def nearest(self, effort: Effort) -> torch.Tensor:
        """The image x0 at the minimum, as far as `effort` goes."""
        u = torch.zeros_like(self.e)
        for _ in range(effort.newton):
            at = self.gradient.at(self._image(u))
            step, before = self._step(at, u, effort.products), self._objective(u, at.value)
            for halving in range(HALVINGS + 1):
                found = u + step / 2**halving
                if self._objective(found, self.gradient(self._image(found))) <= before:
                    u = found
                    break
            else:  # no descent: the image is as near as it comes
                break
        return self._image(u)

    def _image(self, u: torch.Tensor) -> torch.Tensor:
        return self.centre + self.spread.image(u)

    def _objective(self, u: torch.Tensor, value: torch.Tensor) -> float:
        return float((u - self.e).square().sum() + ((value - self.target) / self.sigma).square().sum())

    def _step(self, at: Derivative, u: torch.Tensor, products: int) -> torch.Tensor:
        """Gauss-Newton: (1 + B'B) step = -(u - e) - B' (f - y - sigma e') / sigma, with B = df/dx V^1/2 / sigma."""

        def back(residual: torch.Tensor) -> torch.Tensor:
            return self.spread.coordinates(at.pull(residual[None])[0]) / self.sigma

        def curvature(flat: np.ndarray) -> np.ndarray:
            v = torch.from_numpy(flat).to(u).view_as(u)
            return (v + back(at.push(self.spread.image(v)[None])[0] / self.sigma)).flatten().double().numpy()

        slope = (u - self.e + back((at.value - self.target) / self.sigma)).flatten().double().numpy()
        system = LinearOperator((u.numel(), u.numel()), curvature, dtype=np.float64)
        return torch.from_numpy(cg(system, -slope, rtol=1e-6, maxiter=products)[0]).to(u).view_as(u)
