"""Training by DP-SGD: Poisson sampling, Opacus' clipping and noise, noise multiplier from the budget by `accounting`.

Every step releases g + N(0, sigma^2), g the mean over the expected batch B of clipped per-sample gradients and
sigma = noise_multiplier C / B. A filter may stand between what is released and what the optimiser uses.
"""

import copy
import functools
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from vpaudit.base.randomness import generator
from vpaudit.privacy import accounting
from vpaudit.privacy.mechanism import Mechanism, dp_optimizer

Records = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Training:
    """One DP-SGD run: noise multiplier, sample_rate q, steps T as accounting takes them; lr, max_grad_norm C > 0."""

    noise_multiplier: float
    sample_rate: float = 0.1
    steps: int = 200
    lr: float = 1.0
    max_grad_norm: float = 1.0
    delta: float = 1e-5

    @classmethod
    def within(cls, epsilon: float, *, delta=1e-5, sample_rate=0.1, steps=200, **options) -> "Training":
        """With the smallest noise multiplier that keeps all steps together within (epsilon, delta)."""
        noise_multiplier = _noise_multiplier(epsilon, delta, sample_rate, steps)
        return cls(noise_multiplier, sample_rate, steps, delta=delta, **options)

    @property
    def epsilon(self) -> float:
        """What all steps spend at delta."""
        return _epsilon(self.noise_multiplier, self.sample_rate, self.steps, self.delta)


_noise_multiplier = functools.lru_cache(accounting.noise_multiplier_for_epsilon)  # a second each, for many runs
_epsilon = functools.lru_cache(accounting.epsilon_poisson)


class Filter(Protocol):
    """What stands between a released gradient and the optimiser."""

    def __call__(self, released: torch.Tensor, sigma: float, model: nn.Module) -> torch.Tensor:
        """(P,) privatised gradient to (P,) used gradient; sigma: std of the noise on each coordinate."""
        ...


def plain(released: torch.Tensor, sigma: float, model: nn.Module) -> torch.Tensor:
    """The released gradient itself."""
    return released


def train(model: nn.Module, records: Records, training: Training, gradient_filter: Filter, key: tuple) -> dict:
    """DP-SGD in place.

    Args:
        records: private images (n, ...) and labels (n,); key: names sampling and noise, so that runs with the same key
            differ by their filter alone.

    Returns:
        what was done: noise_multiplier, steps, sigma.
    """
    from opacus import GradSampleModule

    images, labels = records
    batch, noise_multiplier = training.sample_rate * len(images), training.noise_multiplier
    twin = copy.deepcopy(model)  # what a filter sees: it may take public gradients, and Opacus' hooks must not
    wrapped = GradSampleModule(model, loss_reduction="mean")
    mechanism = Mechanism(1 / noise_multiplier, training.max_grad_norm)
    optimizer = dp_optimizer(wrapped.parameters(), mechanism, (*key, "noise"), batch, training.lr, "mean")
    sampling = generator(*key, "sampling")
    sigma = noise_multiplier * training.max_grad_norm / batch
    for _ in range(training.steps):
        picked = torch.rand(len(images), generator=sampling) < training.sample_rate
        nn.functional.cross_entropy(wrapped(images[picked]), labels[picked]).backward()
        optimizer.pre_step()
        released = torch.cat([p.grad.flatten() for p in wrapped.parameters()]).detach()
        with torch.no_grad():
            for mine, theirs in zip(twin.parameters(), wrapped.parameters()):
                mine.copy_(theirs)
            _write(wrapped, gradient_filter(released, sigma, twin))
        optimizer.original_optimizer.step()
        optimizer.zero_grad()
    wrapped.remove_hooks()
    return {"noise_multiplier": noise_multiplier, "steps": training.steps, "sigma": sigma}


def _write(model: nn.Module, gradient: torch.Tensor) -> None:
    """A copy: the next backward pass adds private gradients into .grad, which a filter's own memory must never see."""
    start = 0
    for parameter in model.parameters():
        parameter.grad = gradient[start : start + parameter.numel()].view_as(parameter).to(parameter.dtype, copy=True)
        start += parameter.numel()


@torch.no_grad()
def accuracy(model: nn.Module, records: Records) -> float:
    """Share of records whose label is named."""
    return float((model(records[0]).argmax(dim=1) == records[1]).float().mean())
