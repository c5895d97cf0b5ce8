"""All rounds of a training, seen by an adversary who does not know which of them hold the image.

y_t = b_t theta + sigma z_t, theta = lambda x, t = 1 ... T, b_t = 1 with probability q. Given a template, an estimate of
theta, the chance that a round holds the image follows from <y_t, template> alone, and rounds weighted by these chances
p_t are as good as one Gaussian release: one step of Fisher scoring,

    y' = template + sum_t p_t (y_t - template) / sum_t p_t^2,    noise sigma / sqrt(sum_t p_t^2),

since across the template p_t is independent of the noise, E[p b] = E[p^2], and sum p_t^2 / sigma^2 is the information
(privacy/adversaries.py). Without a template p_t = q, and y' is the blind mean. A posterior mean of y' is the next
template. Even and odd rounds give each other templates: one made of a round would find its own noise in that round.

T x N numbers an image are never held: the attack asks rounds for <y_t, v> and sum_t w_t y_t alone, and `Normal` draws
such products of a matrix of independent normals one after the other, exactly in law. Memory is that of the answers.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch

from vpaudit.base.pixels import per_image
from vpaudit.base.randomness import generator
from vpaudit.privacy.mechanism import Observation

ITERATIONS = 3  # templates made of one another


class Side:
    """Of one side of `Normal`: orthonormal vectors asked for, (B, K, size), and their products, (B, K, other)."""

    def __init__(self, batch: int, size: int, other: int):
        self.asked = torch.zeros(batch, 0, size, dtype=torch.float64)
        self.products = torch.zeros(batch, 0, other, dtype=torch.float64)

    def add(self, unit: torch.Tensor, product: torch.Tensor) -> None:
        self.asked = torch.cat([self.asked, unit[:, None]], dim=1)
        self.products = torch.cat([self.products, product[:, None]], dim=1)


class Normal:
    """Z of shape (B, T, N), independent standard normals, known by its products Z v and w Z alone.

    Given what was asked before, Z is what these answers say, and independent normals across all of it (Gaussian
    conditioning; Bolthausen 1201.2891, section 2), however later questions depend on earlier answers.
    """

    def __init__(self, keys: list[tuple], rounds: int, size: int):
        self.generators = [generator(*key) for key in keys]
        self.left, self.right = Side(len(keys), rounds, size), Side(len(keys), size, rounds)

    def times(self, v: torch.Tensor) -> torch.Tensor:
        """(B, T): Z v of v (B, N)."""
        return self._product(v, self.right, self.left)

    def weighted(self, w: torch.Tensor) -> torch.Tensor:
        """(B, N): w Z of w (B, T)."""
        return self._product(w, self.left, self.right)

    def _product(self, vector: torch.Tensor, mine: Side, other: Side) -> torch.Tensor:
        part = _dot(mine.asked, vector)
        rest = vector - _sum(part, mine.asked)
        rest = rest - _sum(_dot(mine.asked, rest), mine.asked)  # once more, for round-off
        norm = rest.norm(dim=1, keepdim=True)
        new = norm > 1e-9 * vector.norm(dim=1, keepdim=True)  # else it has been asked before
        unit = torch.where(new, rest / norm.clamp_min(1e-300), 0.0)
        fresh = torch.stack([torch.randn(mine.products.shape[2], generator=g).double() for g in self.generators])
        fresh = fresh - _sum(_dot(other.asked, fresh), other.asked)
        product = new * (_sum(_dot(other.products, unit), other.asked) + fresh)
        answer = _sum(part, mine.products) + norm * product
        mine.add(unit, product)
        return answer


def _dot(rows: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
    return torch.einsum("bkn,bn->bk", rows, vector)


def _sum(weights: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    return torch.einsum("bk,bkn->bn", weights, rows)


@dataclass
class Rounds:
    """T rounds of the release of one image each, of which only products are asked.

    Attributes:
        theta: float64 (B, N), what a round adds that holds the image; present: bool (B, T); sigma: noise of a round.
    """

    theta: torch.Tensor
    present: torch.Tensor
    sigma: float
    keys: list[tuple]
    noise: Normal = field(init=False)

    def __post_init__(self):
        self.present = self.present.double()
        self.noise = Normal(self.keys, self.present.shape[1], self.theta.shape[1])

    def __len__(self) -> int:
        return self.present.shape[1]

    def project(self, v: torch.Tensor) -> torch.Tensor:
        """(B, T): <y_t, v> of v (B, N)."""
        signal = (self.theta * v).sum(dim=1, keepdim=True)
        return self.present * signal + self.sigma * self.noise.times(v)

    def weighted(self, w: torch.Tensor) -> torch.Tensor:
        """(B, N): sum of w_t y_t, w (B, T)."""
        return (w * self.present).sum(dim=1, keepdim=True) * self.theta + self.sigma * self.noise.weighted(w)


def participation(ids: torch.Tensor, rounds: int, sample_rate: float, key: tuple) -> torch.Tensor:
    """bool (B, T): Poisson sampling, keyed by image."""
    return torch.stack(
        [torch.rand(rounds, generator=generator(*key, i, "participation")) < sample_rate for i in ids.tolist()]
    )


def halves(x: torch.Tensor, seen: Observation, rounds: int, sample_rate: float, seed: int) -> tuple[Rounds, Rounds]:
    """Even and odd rounds of a training, T >= 2; seen: one round's release, for lambda, sigma, keys."""
    theta, found = (per_image(seen.lam) * x.double()).flatten(1), []
    for number in (0, 1):
        key = (seed, seen.dataset, f"mu={seen.mu:g}", f"q={sample_rate:g}", f"half {number} of {rounds}")
        present = participation(seen.ids, (rounds + 1 - number) // 2, sample_rate, key)
        found.append(Rounds(theta, present, float(seen.sigma[0]), [(*key, i) for i in seen.ids.tolist()]))
    return tuple(found)


def attack(
    parts: tuple[Rounds, Rounds],
    seen: Observation,
    sample_rate: float,
    estimate: Callable[[Observation], torch.Tensor],
    iterations: int = ITERATIONS,
) -> Observation:
    """What all rounds say of the image, as one observation of it.

    Args:
        parts: as of `halves`; seen: an observation of these images with lambda and sigma of one round.
        estimate: observation -> images (B, C, H, W); the posterior mean of a prior.

    Returns:
        y' and its noise of both halves together, lambda; all rounds are worth one release of mu = C / noise.
    """
    now = [_score(part, seen, None, sample_rate) for part in parts]
    for _ in range(iterations):
        templates = [(per_image(seen.lam) * estimate(o).double()).flatten(1) for o in now]
        now = [_score(part, seen, template, sample_rate) for part, template in zip(parts, reversed(templates))]
    precision = torch.stack([o.sigma**-2 for o in now])
    mean = sum(per_image(p) * o.y.double() for p, o in zip(precision, now)) / per_image(precision.sum(dim=0))
    return replace(seen, y=mean.float(), sigma=precision.sum(dim=0).rsqrt(), blank=None)


def _score(rounds: Rounds, seen: Observation, template: torch.Tensor | None, sample_rate: float) -> Observation:
    """y' of one half and its noise; without a template, or of one that tells less than none, the mean over q."""
    chance, origin = torch.full_like(rounds.present, sample_rate), torch.zeros_like(rounds.theta)
    if template is not None:
        odds = torch.logit(torch.tensor(sample_rate, dtype=torch.float64))
        energy = template.square().sum(dim=1, keepdim=True)
        found = torch.sigmoid(odds + (rounds.project(template) - energy / 2) / rounds.sigma**2)
        told = found.square().sum(dim=1, keepdim=True) > len(rounds) * sample_rate**2
        chance, origin = torch.where(told, found, chance), torch.where(told, template, origin)
    squares = chance.square().sum(dim=1)
    y = origin + (rounds.weighted(chance) - chance.sum(dim=1, keepdim=True) * origin) / squares[:, None]
    return replace(seen, y=y.view_as(seen.y).float(), sigma=rounds.sigma * squares.rsqrt(), blank=None)
