"""Images of one batch that share rows of a planted layer: samples of all of them at once, G = M X + sigma Z.

Least squares (`attack.gradients.observe`) gives up every image that the mixing M does not separate. Under a prior the
posterior of the batch exists whatever M is: annealed as in `posterior`, with one prior an image. Given the x_t of all
images, each is normal with the prior's mean D(x_t) and the covariance V of `posterior`; in the coordinates of V the
rows say the same along every direction, so a draw of the batch is a linear system of B unknowns for each of them.
"""

import itertools

import torch

from vpaudit.attack.gradients import Released
from vpaudit.base.randomness import KeyedNoise
from vpaudit.opacus.posterior import DEFAULT, Adversary, Effort, Spread
from vpaudit.sampling.samplers import noise_levels


def batch_sample(
    released: Released, labels: list[int], adversary: Adversary, key: tuple, effort: Effort = DEFAULT
) -> torch.Tensor:
    """One sample of the batch, (B, C, H, W), not clipped to [-1, 1].

    Args:
        released: rows (K, C H W) and the mixing (K, B) that the adversary is told. labels: of the B images.
        effort: levels and start are used.
    """
    gaussian, shape = adversary.gaussian, adversary.gaussian.shape
    rows = gaussian.coordinates(released.rows.double().view(-1, *shape)).flatten(1)
    information = released.mixing.T @ released.mixing / released.sigma**2
    seen = released.mixing.T @ rows / released.sigma**2
    images = range(len(labels))
    fresh = KeyedNoise([(*key, "image", i) for i in images], shape)
    levels = noise_levels(torch.tensor([effort.start]), effort.levels)[0].double()
    classes = torch.tensor(labels)[:, None]

    def normal() -> torch.Tensor:
        return fresh().double()

    x = gaussian.mean.double() + torch.stack([Spread(gaussian).image(u) for u in normal()]) + levels[0] * normal()
    for now, then in itertools.pairwise(levels):
        centres = torch.stack([adversary.mean(x[i], now, classes[i]) for i in images])
        probes = normal().sign()
        sureness = [adversary.sureness(x[i], now, classes[i], centres[i], probes[i]) for i in images]
        variances = torch.stack([Spread(gaussian, float(now), c).root ** 2 for c in sureness])
        coordinates = gaussian.coordinates(centres).flatten(1)
        drawn = _draw(coordinates, variances, information, seen, normal().flatten(1))
        x = gaussian.image(drawn).view(-1, *shape) + then * normal()
    return x


def _draw(centres, variances, information, seen, e: torch.Tensor) -> torch.Tensor:
    """(B, N): a draw of the batch's coordinates, one system for each of the N directions.

    Precision diag(1 / v) + M'M / sigma^2 = L L', mean its inverse times centre / v + M'G / sigma^2, plus L^-T e; scaled
    by v^1/2, so that a direction of no variance stays at its centre.

    Args:
        centres, variances, seen, e: (B, N); information: (B, B).
    """
    root = variances.sqrt()
    scaled = root.T[:, :, None] * information * root.T[:, None, :]
    factor = torch.linalg.cholesky(torch.eye(len(information), dtype=scaled.dtype) + scaled)
    away = (root * (seen - information @ centres)).T[:, :, None]
    mean = torch.cholesky_solve(away, factor)
    noise = torch.linalg.solve_triangular(factor.mT, e.T[:, :, None], upper=True)
    return centres + root * (mean + noise)[:, :, 0].T
