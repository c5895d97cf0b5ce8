"""How much of an image its clipped gradient leaks, as the mu of a plain release that leaks as much.

Linearised at the image x0 the release is y = f(x0) + J (x - x0) + sigma z, J = df/dx (`clipped`). Under a Gaussian
prior of covariance S = U L U' the posterior's covariance is (S^-1 + J'J / sigma^2)^-1, and with A = L^1/2 U'J'J U L^1/2
its trace is what the prior had, tr S, less the

    gain = tr L^1/2 A (sigma^2 + A)^-1 L^1/2

A plain release x + s z gains sum_i l_i^2 / (l_i + s^2), l_i the eigenvalues of S. The equivalent mu is |x0| / s at
the s of equal gains. Of a planted layer whose gradient is the image it is C / sigma. Both sides are told lambda (see
`clipped`).

It is no bound, and may be above C / sigma: that limits how well any two images are told apart, and not how steeply a
gradient turns between near ones, while a planted layer spends part of C on what all images share. And it is a statement
about small changes. `departure` says how far off the linearisation is for changes as large as what stays uncertain.

From the same products follow the Fisher information tr J'J / sigma^2, the bits 1/2 log2 det(1 + A / sigma^2), and van
Trees' floor under the error of every attack, for images drawn from the Gaussian prior.

Traces are means over random vectors (Hutchinson), and each vector's quadratic form comes from Lanczos' tridiagonal
matrix (Golub & Meurant; Ubaru, Chen & Saad 2017), so that one run serves every sigma. The gain is estimated and not the
trace itself: its relative error stays the same however little is leaked.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import brentq
from scipy.special import stdtrit

from vpaudit.base.errors import VpauditError
from vpaudit.base.randomness import KeyedNoise
from vpaudit.opacus.clipped import ClippedGradient, Derivative
from vpaudit.priors.gaussian import GaussianPrior
from vpaudit.priors.spectral import SpectralPrior

Gaussian = GaussianPrior | SpectralPrior
PROBES, STEPS = 16, 16  # random vectors, and Lanczos steps of each
LEVEL = 0.95


@dataclass(frozen=True)
class Quadrature:
    """v' h(A) v of K random vectors as sum_j weights h(nodes), for any function h.

    Attributes:
        nodes, weights: float64 (K, steps), both >= 0.
    """

    nodes: np.ndarray
    weights: np.ndarray

    def each(self, h: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """(K,)."""
        return (self.weights * h(self.nodes)).sum(axis=1)


@dataclass(frozen=True)
class Estimate:
    """A mean over random vectors and its 95 % interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, each: np.ndarray) -> "Estimate":
        """From the K values, by Student's t; never below 0."""
        mean, count = float(each.mean()), len(each)
        half = float(stdtrit(count - 1, (1 + LEVEL) / 2) * each.std(ddof=1) / np.sqrt(count))
        return cls(mean, max(mean - half, 0.0), mean + half)

    def through(self, rising: Callable[[float], float]) -> "Estimate":
        """The same of a rising function of it."""
        return Estimate(rising(self.value), rising(self.low), rising(self.high))


@dataclass(frozen=True)
class Leak:
    """What one layer's part of the clipped gradient (or all of it) gains of one image.

    Attributes:
        share: of the clipped gradient's squared norm that is this layer's.
        gain: under the prior; of which vectors and matrices is in the head of this module.
        image_norm: |x0|, on [-1, 1]; variances: (N,) eigenvalues of the prior.
    """

    share: float
    gain: Quadrature
    image_norm: float
    variances: np.ndarray

    def equivalent_mu(self, sigma: float) -> Estimate:
        """mu of the plain release that gains as much, at noise of std sigma > 0 on the sum of clipped gradients."""
        gains = Estimate.of(self.gain.each(lambda a: a / (sigma**2 + a)))
        return gains.through(lambda gain: equivalent_mu(gain, self.variances, self.image_norm))


def equivalent_mu(gain: float, variances: np.ndarray, image_norm: float) -> float:
    """|x0| / s at the s where a plain release x + s z gains `gain` >= 0 of the prior's trace; inf from tr S on."""
    if gain <= 0:
        return 0.0
    if gain >= variances.sum():
        return float("inf")

    def excess(log_s):
        return (variances**2 / (variances + np.exp(2 * log_s))).sum() / gain - 1

    return image_norm / float(np.exp(brentq(excess, -30.0, 30.0, xtol=1e-10)))


def leaks(
    gradient: ClippedGradient, x: torch.Tensor, prior: Gaussian, key: tuple, probes: int = PROBES, steps: int = STEPS,
    rest: Sequence[tuple[ClippedGradient, torch.Tensor]] = (), layers: dict[str, torch.Tensor] | None = None,
) -> dict[str, Leak]:  # fmt: skip
    """The leak of one image x (C, H, W) through each layer seen alone and, under the name "all", through the network.

    Args:
        key: names the random vectors; probes: their number, >= 2 for an interval; steps: of Lanczos.
        rest: gradients and images of the batch of which the adversary knows the class alone. The release is linearised
            at these too, and each is of the prior.
        layers: coordinates of f by name, as `ClippedGradient.layers` gives them, which is what they are by default.

    Raises:
        VpauditError: a prior of another shape, or a gradient whose derivative is not finite.
    """
    batch = [gradient.at(x), *(other.at(image) for other, image in rest)]
    start = torch.zeros(probes, len(batch) * x.numel(), dtype=torch.float64)
    start[:, : x.numel()] = root(prior) * signs(key, probes, x.shape).flatten(1)
    norm, variances, value = float(x.double().norm()), prior.variances.flatten().double().numpy(), batch[0].value
    found = {}
    for name, rows in ((gradient.layers() if layers is None else layers) | {"all": None}).items():
        part = value if rows is None else value[rows]
        gain = quadrature(_whitened(batch, prior, rows), start, steps)
        found[name] = Leak(float(part.square().sum() / value.square().sum()), gain, norm, variances)
    return found


def departure(
    gradient: ClippedGradient, x: torch.Tensor, prior: Gaussian, key: tuple, mu: float, probes: int = PROBES
) -> float:
    """|f(x + d) - f(x) - J d| / |J d|, root mean squares over d of the posterior of a plain release at `mu` > 0.

    0 where f is linear; from 1 on the linearisation says nothing of changes of this size.
    """
    variances, s = prior.variances.flatten().double(), float(x.double().norm()) / mu
    normal = KeyedNoise([(*key, "change", k) for k in range(probes)], x.shape)().flatten(1)
    changes = prior.image((variances / (1 + variances / s**2)).sqrt() * normal).to(x)
    at = gradient.at(x)
    linear = at.push(changes)
    true = torch.stack([gradient(x + change) for change in changes]) - at.value
    return float(((true - linear).double().square().sum() / linear.double().square().sum()).sqrt())


def bits(gradient: ClippedGradient, x: torch.Tensor, prior: Gaussian, key: tuple, sigma: float, **how) -> Estimate:
    """1/2 log2 det(1 + A / sigma^2): what the linearised release tells of an image of the Gaussian prior."""
    found = quadrature(
        _whitened([gradient.at(x)], prior), signs(key, how.pop("probes", PROBES), x.shape).flatten(1), **how
    )
    return Estimate.of(found.each(lambda a: 0.5 * np.log2(1 + a / sigma**2)))


def fisher_information(gradient: ClippedGradient, x: torch.Tensor, key: tuple, sigma: float, probes=PROBES) -> Estimate:
    """tr J'J / sigma^2, of the pixels on [-1, 1]."""
    pushed = gradient.at(x).push(signs(key, probes, x.shape).to(x))
    return Estimate.of(pushed.double().square().sum(dim=1).numpy() / sigma**2)


def van_trees(
    gradient: ClippedGradient, images: Sequence[torch.Tensor], prior: Gaussian, key: tuple, sigma: float, **how
) -> Estimate:
    """Floor of E |x - R(y)|^2, summed over pixels, of every attack R on images x of the Gaussian prior and this class.

    tr (S^-1 + E J'J / sigma^2)^-1 (Van Trees 1968; Gill & Levit 1995), for a smooth network and an adversary that is
    not told lambda. The expectation is a mean over `images`, and the trace of the inverse is convex: with few images
    the floor errs upwards.

    Args:
        images: drawn from `prior`, (C, H, W) each; gradient: with `told` False.
    """
    if gradient.told:
        raise VpauditError("van Trees' floor is not for an adversary that is told lambda", "give told=False")
    operators = [_whitened([gradient.at(x)], prior) for x in images]

    def mean(v):
        return sum(operator(v) for operator in operators) / len(operators)

    start = root(prior) * signs(key, how.pop("probes", PROBES), images[0].shape).flatten(1)
    total = float(prior.variances.double().sum())
    gain = Estimate.of(quadrature(mean, start, **how).each(lambda a: a / (sigma**2 + a)))
    return Estimate(total - gain.value, total - gain.high, total - gain.low)


# ---------------------------------------------------------------- numerics


def signs(key: tuple, count: int, shape) -> torch.Tensor:
    """float64 (count, C, H, W) of +-1, keyed one by one."""
    return KeyedNoise([(*key, "probe", k) for k in range(count)], shape)().sign().double()


def root(prior: Gaussian) -> torch.Tensor:
    """float64 (N,): L^1/2. U L^1/2 v, v standard normal, are images of the prior about 0."""
    return prior.variances.flatten().double().sqrt()


def _whitened(batch: Sequence[Derivative], prior: Gaussian, rows: torch.Tensor | None = None):
    """A of the coordinates `rows` (bool, (P,)) of f, by default all: float64 (K, B N) to (K, B N), B images side by
    side; J and U in the network's own precision."""
    scale = root(prior)

    def apply(v):
        parts = zip(batch, v.split(len(scale), dim=1), strict=True)
        pushed = sum(at.push(prior.image((scale * part).to(at.x))) for at, part in parts)
        seen = pushed if rows is None else pushed * rows
        product = torch.cat([prior.coordinates(at.pull(seen)).flatten(1) for at in batch], dim=1)
        if not torch.isfinite(product).all():
            raise VpauditError("the gradient's derivative by the image is not finite", "look for inf or NaN in weights")
        return scale.repeat(len(batch)) * product.double()

    return apply


def quadrature(apply: Callable[[torch.Tensor], torch.Tensor], start: torch.Tensor, steps: int = STEPS) -> Quadrature:
    """Lanczos with full reorthogonalisation on a positive semidefinite matrix, from each of K vectors.

    Args:
        apply: the matrix times vectors, float64 (K, N), as `start` is.
    """
    steps, norms = min(steps, start.shape[1]), start.norm(dim=1)
    basis = [start / norms[:, None]]
    diagonal, beside = [], []
    for _ in range(steps):
        v = apply(basis[-1])
        diagonal.append((v * basis[-1]).sum(dim=1))
        for _ in range(2):  # twice is enough (Kahan and Parlett)
            known = torch.stack(basis, dim=1)
            v = v - torch.einsum("kmn,km->kn", known, torch.einsum("kmn,kn->km", known, v))
        beta = v.norm(dim=1)
        beta = torch.where(beta > 1e-7 * diagonal[0].abs(), beta, 0.0)  # an invariant space: the rest is 0
        beside.append(beta)
        basis.append(torch.where(beta[:, None] > 0, v / beta.clamp_min(1e-300)[:, None], 0.0))
    matrix = torch.diag_embed(torch.stack(diagonal, dim=1))
    if steps > 1:
        off = torch.diag_embed(torch.stack(beside[:-1], dim=1), offset=1)
        matrix = matrix + off + off.mT
    nodes, vectors = torch.linalg.eigh(matrix)
    weights = norms[:, None] ** 2 * vectors[:, 0].square()
    return Quadrature(nodes.clamp_min(0.0).numpy(), weights.numpy())
