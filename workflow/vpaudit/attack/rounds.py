"""Several releases of one image: y_t = b_t lambda x + sigma_t z_t, t = 1 ... T, seen together.

Where the image takes part in every round, the weighted mean with weights 1 / sigma_t^2 holds all there is to know of x
(it is sufficient), so T rounds are one release of mu_total = sqrt(sum mu_t^2), and every attack runs on it unchanged.

Under Poisson sampling the adversary does not know the b_t. The blind mean of all rounds has the signal q lambda x and
mu q sqrt(T). It does better by telling the rounds apart: given an estimate of lambda x, of norm C when clipped, a
round's log odds of holding it are those of two Gaussians,

    log q / (1 - q) + <y_t, lambda x> / sigma^2 - |lambda x|^2 / (2 sigma^2),

and rounds weighted by these probabilities give a better estimate: expectation and maximisation in turn, a few times.
Per-round mu decides: <y_t, lambda x> / sigma^2 is N(0, mu^2) without x and N(mu^2, mu^2) with it.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from vpaudit.base.errors import VpauditError
from vpaudit.base.pixels import per_image
from vpaudit.base.randomness import generator
from vpaudit.privacy.mechanism import Mechanism, Observation, release_analytic


def combine(releases: Sequence[Observation]) -> Observation:
    """Weighted mean of releases of the same images: weights 1 / sigma_t^2, where lambda is the same in all.

    Raises:
        VpauditError: no release, or releases of other images or with other lambda.
    """
    if not releases:
        raise VpauditError("no release to combine", "give at least one round")
    first = releases[0]
    for other in releases[1:]:
        if not torch.equal(other.ids, first.ids) or not torch.allclose(other.lam, first.lam):
            raise VpauditError("releases of other images, or with another lambda", "combine rounds of the same images")
    precision = torch.stack([1 / r.sigma**2 for r in releases])
    weights = precision / precision.sum(dim=0)
    y = sum(per_image(w) * r.y.double() for w, r in zip(weights, releases))
    return replace(first, y=y.float(), sigma=precision.sum(dim=0).rsqrt(), blank=None)


def participation(ids: torch.Tensor, rounds: int, sample_rate: float, dataset: str, seed: int) -> torch.Tensor:
    """bool (T, B): Poisson sampling, keyed by image."""
    columns = [
        torch.rand(rounds, generator=generator(seed, dataset, i, "participation")) < sample_rate for i in ids.tolist()
    ]
    return torch.stack(columns, dim=1)


def release_sampled(
    x: torch.Tensor,
    ids: torch.Tensor,
    labels: torch.Tensor,
    mechanism: Mechanism,
    rounds: int,
    sample_rate: float,
    dataset: str,
    seed: int,
    others: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """T Poisson-sampled rounds of the sum of clipped images.

    Args:
        x: float32 (B, C, H, W), each the target of a training set of its own.
        others: float32 (M, C, H, W), the rest of each training set, sampled at the same rate; None for no others.

    Returns:
        float32 (T, B, C, H, W) released sums, and bool (T, B) where the target took part.
    """
    present = participation(ids, rounds, sample_rate, dataset, seed)
    clipped = per_image(mechanism.clip_factor(x)) * x.double()
    rest = None if others is None else (per_image(mechanism.clip_factor(others)) * others.double()).flatten(1)
    released = []
    for t in range(rounds):
        noise = release_analytic(torch.zeros_like(x), ids, labels, mechanism, dataset, seed, round_=t).y.double()
        total = present[t].double().reshape(-1, 1, 1, 1) * clipped + noise
        if rest is not None:
            picks = [
                torch.rand(len(rest), generator=generator(seed, dataset, i, t, "batch")) < sample_rate
                for i in ids.tolist()
            ]
            total = total + (torch.stack(picks).double() @ rest).view_as(total)
        released.append(total.float())
    return torch.stack(released), present


def blind_mean(
    y: torch.Tensor, lam: torch.Tensor, sigma: float, sample_rate: float, background: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mean of all rounds as an observation of x at lambda' = q lambda.

    Args:
        y: (T, B, C, H, W); lam: (B,); background: what other images add to a round in expectation, known to the
            adversary from public images of the kind.

    Returns:
        y', lambda', sigma', for `Observation.with_belief` and its y.
    """
    mean = y.double().mean(dim=0)
    if background is not None:
        mean = mean - background.double()
    return mean.float(), sample_rate * lam, torch.full_like(lam, sigma / len(y) ** 0.5)


def told_apart(
    y: torch.Tensor,
    seen: Observation,
    sample_rate: float,
    estimate: Callable[[Observation], torch.Tensor],
    iterations: int = 4,
    background: torch.Tensor | None = None,
) -> tuple[Observation, torch.Tensor]:
    """Rounds weighted by how likely they hold the image, in turn with estimating it.

    Even and odd rounds judge each other: an estimate made of a round would find its own noise in that round again.

    Args:
        y: (T, B, C, H, W) released rounds, T >= 2; seen: an observation of these images with lambda and sigma of one
            round.
        estimate: observation -> images; the posterior mean of a prior.

    Returns:
        the observation made of the weighted rounds, and the probabilities (T, B) of participation.
    """
    plain = y.double() if background is None else y.double() - background.double()
    probability, share = torch.full(y.shape[:2], sample_rate, dtype=torch.float64), sample_rate
    odds = torch.logit(torch.tensor(sample_rate, dtype=torch.float64), eps=1e-9)
    for _ in range(iterations):
        updated = torch.empty_like(probability)
        for fold in (0, 1):
            part = _weighted(plain[fold::2], probability[fold::2], seen, share)
            template = per_image(seen.lam) * estimate(part).double()
            product = (plain[1 - fold :: 2] * template).flatten(2).sum(dim=2)
            energy = template.flatten(1).square().sum(dim=1)
            updated[1 - fold :: 2] = torch.sigmoid(odds + (product - energy / 2) / seen.sigma**2)
        probability, share = updated, 1.0
    return _weighted(plain, probability, seen, share), probability


def _weighted(y: torch.Tensor, probability: torch.Tensor, seen: Observation, share: float) -> Observation:
    """Mean of rounds weighted by the probability p that they hold the image.

    share: of lambda x in the mean: q before y was looked at; 1 for posterior p, as E p y = E b y and E p = E b.
    """
    weight = probability.sum(dim=0).clamp_min(1e-9)
    mean = (probability[..., None, None, None] * y).sum(dim=0) / per_image(weight)
    noise = seen.sigma * (probability**2).sum(dim=0).clamp_min(1e-12).sqrt() / weight
    return replace(seen, y=mean.float(), lam=seen.lam * share, sigma=noise)
