"""DP-SGD that denoises its own gradients: post-processing of a privatised gradient costs no privacy.

A `Filter` sees what was released so far, sigma, and public data, and gives what the optimiser uses:

    plain      what was released
    kalman     random walk g_t = g_(t-1) + N(0, q^2), steady-state gain k:  m <- m + k (y - m)
    wiener     U diag(l / (l + sigma^2)) U'y + r / (r + sigma^2) (y - UU'y), second moments U, l of public gradients at
               the present parameters, r the mean energy outside them
    subspace   UU'y, the k leading directions of public gradients
    diffusion  posterior mean of a denoiser trained on public gradients, at noise sigma over their scale
"""

from collections.abc import Callable

import torch
from torch import nn

from vpaudit.base.randomness import generator
from vpaudit.privacy.training import Records, Training, accuracy, plain, train

__all__ = ["Training", "accuracy", "plain", "train"]


class Kalman:
    """Steady-state filter of a random walk; gain k = 1 is `plain`. gain in (0, 1]."""

    def __init__(self, gain: float):
        self.gain, self.mean = gain, None

    def __call__(self, released, sigma, model):
        """The filtered state after this release."""
        self.mean = self.gain * released if self.mean is None else self.mean + self.gain * (released - self.mean)
        return self.mean


class PublicGradients:
    """Mean clipped gradients of public mini-batches at the present parameters, taken anew every `refresh` steps.

    Args:
        public: images and labels; batch: images a mini-batch; count: mini-batches; key: names their choice.
    """

    def __init__(self, public: Records, max_grad_norm: float, batch: int, count: int, refresh: int, key: tuple):
        self.public, self.max_grad_norm, self.batch, self.count = public, max_grad_norm, batch, count
        self.refresh, self.key, self.step, self.basis = refresh, key, 0, None

    def update(self, model: nn.Module) -> tuple[torch.Tensor, torch.Tensor, float]:
        """U (P, k) orthonormal, second moments l (k,) along it, and r, the mean energy of a coordinate outside."""
        if self.step % self.refresh == 0:
            self.basis = self._decompose(self.gradients(model))
        self.step += 1
        return self.basis

    def gradients(self, model: nn.Module) -> torch.Tensor:
        """(count, P)."""
        rng = generator(*self.key, self.step)
        per_sample = clipped_gradients(model, self.public, self.max_grad_norm)
        shares = torch.zeros(self.count, len(per_sample))  # a product with these, for gathering rows takes longer
        for row in shares:
            row[torch.randperm(len(per_sample), generator=rng)[: self.batch]] = 1 / min(self.batch, len(per_sample))
        return shares @ per_sample

    @staticmethod
    def _decompose(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, float]:
        half = len(rows) // 2  # directions from one half, energies along them from the other: no optimism
        _, _, directions = torch.linalg.svd(rows[:half], full_matrices=False)
        along = rows[half:] @ directions.T
        energies = along.square().mean(dim=0)
        rest = (rows[half:].square().sum(dim=1) - along.square().sum(dim=1)).clamp_min(0).mean()
        return directions.T, energies, float(rest / max(rows.shape[1] - len(directions), 1))


class Wiener:
    """Linear filter with the second moments of public gradients."""

    def __init__(self, public: PublicGradients):
        self.public = public

    def __call__(self, released, sigma, model):
        """Shrunk along and outside the public directions."""
        basis, energies, rest = self.public.update(model)
        along = basis.T @ released
        outside = released - basis @ along
        return basis @ (energies / (energies + sigma**2) * along) + rest / (rest + sigma**2) * outside


class Subspace:
    """Projection on the `rank` leading directions of public gradients."""

    def __init__(self, public: PublicGradients, rank: int):
        self.public, self.rank = public, rank

    def __call__(self, released, sigma, model):
        """Only what lies in the public subspace."""
        basis, energies, _ = self.public.update(model)
        leading = basis[:, energies.argsort(descending=True)[: self.rank]]
        return leading @ (leading.T @ released)


class Diffusion:
    """Posterior mean of a denoiser over gradients laid out as images.

    Args:
        denoise: (x (1, C, H, W), sigma (1,)) -> E[x0 | x], trained on public gradients over `scale`.
        shape: (C, H, W) of the leading coordinates; the rest (biases) passes as it is.
        scale: root mean square of public gradients.
    """

    def __init__(self, denoise: Callable, shape: tuple[int, int, int], scale: float):
        self.denoise, self.shape, self.scale = denoise, shape, scale

    def __call__(self, released, sigma, model):
        """Denoised weights, untouched rest."""
        size = self.shape[0] * self.shape[1] * self.shape[2]
        images = (released[:size] / self.scale).view(1, *self.shape).float()
        clean = self.denoise(images, torch.tensor([sigma / self.scale], dtype=torch.float32))
        return torch.cat([self.scale * clean.flatten(), released[size:]])


def clipped_gradients(model: nn.Module, records: Records, max_grad_norm: float) -> torch.Tensor:
    """(n, P): per-sample gradients of cross-entropy, each of norm at most C; by torch.func, for public data."""
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def loss(parameters, image, label):
        logits = torch.func.functional_call(model, parameters, (image[None],))
        return nn.functional.cross_entropy(logits, label[None])

    grads = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(parameters, *records)
    rows = torch.cat([grads[name].flatten(1) for name in parameters], dim=1)
    return rows * (max_grad_norm / (rows.norm(dim=1, keepdim=True) + 1e-6)).clamp_max(1.0)


def logistic(shape, classes: int, seed: int) -> nn.Module:
    """Multinomial logistic regression; its weight gradients are images."""
    return _seeded(seed, lambda: nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], classes)))


def convolutional(shape, classes: int, seed: int) -> nn.Module:
    """Small tanh network (Papernot et al. 2007.14191), for 28x28 or larger images."""

    def build():
        body = nn.Sequential(
            nn.Conv2d(shape[0], 16, 8, stride=2, padding=2), nn.Tanh(), nn.MaxPool2d(2, 1),
            nn.Conv2d(16, 32, 4, stride=2), nn.Tanh(), nn.MaxPool2d(2, 1), nn.Flatten(),
        )  # fmt: skip
        size = body(torch.zeros(1, *shape)).shape[1]
        return nn.Sequential(*body, nn.Linear(size, 32), nn.Tanh(), nn.Linear(32, classes))

    return _seeded(seed, build)


def _seeded(seed: int, build: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


MODELS = {"logistic": logistic, "convolutional": convolutional, "features": logistic}
