"""What DP-SGD lets out of one image: y = lambda x + sigma z, lambda = min(1, C / |x|), sigma = C / mu.

Two ways to the same law: `release_analytic`, the formula, and `release_opacus`, the gradient of an imprinting linear
layer that Opacus really clipped and noised. Both give an `Observation`, and it never holds x.
"""

from dataclasses import dataclass, replace

import torch

from vpaudit.base.errors import VpauditError
from vpaudit.base.pixels import per_image
from vpaudit.base.randomness import KeyedNoise, generator


@dataclass(frozen=True)
class Mechanism:
    """A Gaussian mechanism on one image per record.

    Attributes:
        mu: C / sigma, > 0; one release is mu-GDP.
        max_grad_norm: the clipping norm C, > 0, in the norm of the image on [-1, 1].
    """

    mu: float
    max_grad_norm: float = 1.0

    def __post_init__(self):
        for name in ("mu", "max_grad_norm"):
            if not getattr(self, name) > 0:
                raise VpauditError(f"{name}={getattr(self, name)} must be > 0", f"give a positive {name}")

    @property
    def noise_multiplier(self) -> float:
        """sigma / C = 1 / mu."""
        return 1.0 / self.mu

    @property
    def sigma(self) -> float:
        """Absolute std of the noise on each coordinate of the released gradient."""
        return self.max_grad_norm / self.mu

    def clip_factor(self, x: torch.Tensor) -> torch.Tensor:
        """lambda = min(1, C / |x|), (B,); 1 for an image of norm 0."""
        norm = torch.linalg.vector_norm(x.flatten(1).double(), dim=1)
        return (self.max_grad_norm / norm.clamp_min(1e-12)).clamp_max(1.0)


@dataclass(frozen=True)
class Observation:
    """What the adversary holds.

    Attributes:
        y: float32 (B, C, H, W), the released image, lambda x + sigma z.
        lam: float64 (B,), the clipping factor the adversary is told or believes.
        sigma: float64 (B,), the noise std the adversary is told or believes; a number stands for all.
        ids: int64 (B,), names of the records, which key its random draws.
        labels: int64 (B,), class side information, -1 where none; used only by conditional attacks.
        dataset, mu: what the tables and random draws are keyed by.
        blank: float32 (B, M), released coordinates that are known to carry no image, if there are any.
    """

    y: torch.Tensor
    lam: torch.Tensor
    sigma: torch.Tensor | float
    ids: torch.Tensor
    labels: torch.Tensor
    dataset: str
    mu: float
    blank: torch.Tensor | None = None

    def __post_init__(self):
        if self.y.ndim != 4 or not torch.isfinite(self.y).all():
            raise VpauditError(
                f"observation of shape {tuple(self.y.shape)} must be finite (B, C, H, W)", "check the release"
            )
        sigma = torch.as_tensor(self.sigma, dtype=torch.float64).expand(len(self.y))
        object.__setattr__(self, "sigma", sigma)
        if not (self.lam > 0).all() or not (sigma > 0).all():
            raise VpauditError(
                f"lambda and sigma must be > 0, got min lambda {self.lam.min():g}, min sigma {sigma.min():g}",
                "a release without signal or without noise is not an observation",
            )

    @property
    def s(self) -> torch.Tensor:
        """float64 (B,): std of the noise on y / lambda, per pixel on [-1, 1]; |x| / mu where clipped."""
        return self.sigma / self.lam

    def rescaled(self) -> torch.Tensor:
        """y / lambda = x + s z, float32 (B, C, H, W)."""
        return (self.y.double() / per_image(self.lam)).float()

    def with_belief(self, lam: torch.Tensor, sigma: torch.Tensor) -> "Observation":
        """The same release with another lambda and sigma in mind."""
        return replace(self, lam=lam, sigma=sigma)

    def __getitem__(self, part) -> "Observation":
        cut = {name: getattr(self, name)[part] for name in ("y", "lam", "sigma", "ids", "labels")}
        return replace(self, **cut, blank=None if self.blank is None else self.blank[part])

    def __len__(self) -> int:
        return len(self.y)


def release_key(seed: int, dataset: str, image_id: int, mu: float, round_: int = 0) -> tuple:
    """The key of the noise on one release of one image."""
    return (seed, dataset, int(image_id), f"mu={mu:g}", f"round={round_}", "release")


def release_analytic(
    x, ids, labels, mechanism: Mechanism, dataset: str, seed: int, round_: int = 0, blank: int = 0
) -> Observation:
    """The formula. x float32 (B, C, H, W) in [-1, 1]; ids, labels int64 (B,); blank: coordinates without image."""
    keys = [release_key(seed, dataset, i, mechanism.mu, round_) for i in ids.tolist()]
    lam = mechanism.clip_factor(x)
    noise = KeyedNoise(keys, x.shape[1:])()
    y = per_image(lam) * x.double() + mechanism.sigma * noise.double()
    empty = None
    if blank:
        empty = (mechanism.sigma * KeyedNoise([(*key, "blank") for key in keys], (blank,))()).float()
    return Observation(y.float(), lam, mechanism.sigma, ids, labels, dataset, mechanism.mu, empty)


REFERENCES = ("noise", "mean")  # releases without the target: what is in its place


def release_without_target(
    seen: Observation, reference: str, mean: torch.Tensor, mechanism: Mechanism, seed: int, draw: int = 0
) -> Observation:
    """sigma W ("noise"), or lambda mean + sigma W ("mean"): a release of the law of `seen`, told the same lambda.

    Args:
        seen: gives lambda, class and key of each target; nothing of y is used. mean: (C, H, W) or (C, 1, 1).
        draw: number of the release; W is keyed by it, by the image and by the reference, and is never that of `seen`.
    """
    if reference not in REFERENCES:
        raise VpauditError(f"no reference release {reference!r}", f"known: {', '.join(REFERENCES)}")
    keys = [(*release_key(seed, seen.dataset, i, seen.mu, draw), reference) for i in seen.ids.tolist()]
    y = mechanism.sigma * KeyedNoise(keys, seen.y.shape[1:])().double()
    if reference == "mean":
        y = y + per_image(seen.lam) * mean.double()
    return replace(seen, y=y.float(), blank=None)


def separation(x: torch.Tensor, reference: str, mean: torch.Tensor, mechanism: Mechanism) -> torch.Tensor:
    """float64 (B,): rho = |lambda z - v| / C of targets z = x (B, C, H, W) and what is released in their place, v.

    1 for noise, v = 0, where |lambda z| = C; of an image that is not clipped that is from above.
    """
    if reference == "noise":
        return torch.ones(len(x), dtype=torch.float64)
    away = (x.double() - mean.double()).flatten(1).norm(dim=1)
    return mechanism.clip_factor(x) * away / mechanism.max_grad_norm


class ImprintLayer(torch.nn.Module):
    """Bias-free linear layer whose loss is the sum of its outputs: each row's gradient is the input image."""

    def __init__(self, pixels: int, rows: int = 1):
        super().__init__()
        self.linear = torch.nn.Linear(pixels, rows, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x.flatten(1)).sum(dim=1)


def dp_optimizer(parameters, mechanism: Mechanism, key: tuple, batch: float = 1, lr: float = 1.0, reduction="sum"):
    """Opacus' optimizer over SGD: clips per-sample gradients to C, adds noise of std sigma, divides by batch if "mean".

    Args:
        parameters: of a `GradSampleModule`; key: names the noise; batch: expected size; reduction: "sum" or "mean".
    """
    from opacus.optimizers import DPOptimizer

    return DPOptimizer(
        torch.optim.SGD(parameters, lr=lr), noise_multiplier=mechanism.noise_multiplier,
        max_grad_norm=mechanism.max_grad_norm, expected_batch_size=batch, loss_reduction=reduction,
        generator=generator(*key),
    )  # fmt: skip


def release_opacus(
    x, ids, labels, mechanism: Mechanism, dataset: str, seed: int, round_: int = 0, rows: int = 1
) -> Observation:
    """One DP-SGD step per image by Opacus, batch size 1, and the image read out of the released gradient.

    With M rows the clipped gradient is c (x, ..., x), c = min(1, C / (sqrt(M) |x|)). The sum of the rows divided by
    sqrt(M) is lambda x + sigma z with lambda = c sqrt(M): for clipped images the law of `release_analytic`
    (Ziller et al. 2402.12861 average the rows, which is the same up to scale).
    """
    from opacus import GradSampleModule

    model = GradSampleModule(ImprintLayer(x[0].numel(), rows))
    weight = model._module.linear.weight
    released = torch.empty_like(x)
    for row, image_id in enumerate(ids.tolist()):
        key = (*release_key(seed, dataset, image_id, mechanism.mu, round_), "opacus")
        optimizer = dp_optimizer(model.parameters(), mechanism, key)
        optimizer.zero_grad()
        model(x[row : row + 1].clone().requires_grad_()).sum().backward()  # opacus' hooks want a differentiable input
        optimizer.pre_step()  # clips the per-sample gradient, adds the noise, leaves it in weight.grad
        released[row] = (weight.grad.sum(dim=0) / rows**0.5).view(x.shape[1:])
    scaled = Mechanism(mechanism.mu, mechanism.max_grad_norm / rows**0.5)
    lam = scaled.clip_factor(x) * rows**0.5
    return Observation(released, lam, mechanism.sigma, ids, labels, dataset, mechanism.mu)


RELEASES = {"analytic": release_analytic, "opacus": release_opacus}
