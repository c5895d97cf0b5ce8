"""What a recorded step leaks of its images: equivalent mu by layer, and the images that an attack makes of it.

The adversary of differential privacy knows the weights, the class, and every other image of the batch: it subtracts
their clipped gradients from the noisy sum, and what is left is one image's clipped gradient plus all of the noise.
"""

import json
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn

from vpaudit.base.errors import VpauditError
from vpaudit.base.pixels import HIGH, LOW
from vpaudit.base.randomness import seed_of
from vpaudit.opacus import leak, records
from vpaudit.opacus.clipped import ClippedGradient
from vpaudit.opacus.posterior import DEFAULT, Adversary, Effort, posterior_samples

ROUND_OFF = 0.01  # of a gradient's norm, relative: more is another model


@dataclass(frozen=True)
class Scaling:
    """How images on [0, 1] are brought to the network's own scale: (x - mean) / std, one number or one a channel.

    The defaults are of a network that takes [-1, 1].
    """

    mean: Sequence[float] = (0.5,)
    std: Sequence[float] = (0.5,)

    def to_network(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) on [-1, 1] to the network's scale."""
        mean, std = (torch.tensor(v).to(x).view(-1, 1, 1) for v in (self.mean, self.std))
        return (x / 2 + 0.5 - mean) / std

    def from_network(self, x: torch.Tensor) -> torch.Tensor:
        """The inverse."""
        mean, std = (torch.tensor(v).to(x).view(-1, 1, 1) for v in (self.mean, self.std))
        return (x * std + mean) * 2 - 1


class RecordedStep:
    """A recorded step and the network it was taken from.

    Args:
        build: gives the network as it was before the training, without Opacus' wrapper; loss: cross-entropy.
        step: one of `run.steps`.

    Raises:
        VpauditError: no noise, no images or no classes in the record, a network of other parameters, images that are
            not on [-1, 1], or gradients that are not those of the record.
    """

    def __init__(self, run: records.Run, step: int, build: Callable[[], nn.Module], scaling: Scaling | None = None):
        released, batch, scaling = run.released(step), run.batch(step), scaling or Scaling()
        self.setting = released.setting
        if not self.setting.sigma > 0:
            raise VpauditError("this run adds no noise: nothing limits what its gradients leak", "train with noise")
        if batch.images is None or not len(batch.images) or (batch.labels < 0).any():
            raise VpauditError(
                f"step {step} of {run.path} has no images with classes",
                "audit another step; the loss must be cross-entropy",
            )
        self.images, self.labels = scaling.from_network(batch.images.float()), batch.labels.tolist()
        if self.images.min() < LOW - 0.01 or self.images.max() > HIGH + 0.01:
            raise VpauditError(
                f"images from {self.images.min():.3g} to {self.images.max():.3g}, not on [-1, 1]",
                "give the mean and std that the training normalised with",
            )
        self.network = restored(build(), released.weights | run.fixed())
        self.network.register_forward_pre_hook(lambda module, inputs: (scaling.to_network(inputs[0]),))
        self._check(batch.norms)
        self.noise = released.noisy_sum() - sum(
            self.gradient(i)(x).double() for i, x in enumerate(self.images)
        )  # of the whole batch: what is left is the noise

    def gradient(self, i: int, told: bool = False) -> ClippedGradient:
        """f of the i-th image of the batch."""
        limits = self.setting.max_grad_norms or self.setting.max_grad_norm
        return ClippedGradient(self.network, self.labels[i], limits, told=told)

    def seen(self, i: int) -> torch.Tensor:
        """(P,): the noisy sum less the rest of the batch."""
        return self.noise.float() + self.gradient(i)(self.images[i])

    def _check(self, recorded: torch.Tensor) -> None:
        """The norms that Opacus clipped are those of this model; the noise would hide another one."""
        parts = [self.gradient(i) for i in range(len(self.images))]
        norms = [[float(p.norm()) for p in f.raw(x).split(f.groups)] for f, x in zip(parts, self.images)]
        away = (torch.tensor(norms).view_as(recorded) / recorded - 1).abs().max()
        if away > ROUND_OFF:
            raise VpauditError(
                f"step {self.setting.step}: gradients of this model have other norms than were recorded, by {away:.2g}",
                "give the model and the scaling that were trained with, cross-entropy, and no dropout",
            )


def restored(network: nn.Module, state: records.Tensors) -> nn.Module:
    """The network with these weights; names and shapes must be its own."""
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise VpauditError(
            f"the model is not the recorded one: {error}", "build the network that was trained"
        ) from error
    return network


@dataclass(frozen=True)
class LayerLeak:
    """Equivalent mu of one image seen through one layer ("all": the network), its 95 % interval, and the layer's share
    of the clipped gradient's squared norm."""

    layer: str
    share: float
    equivalent_mu: float
    low: float
    high: float


@dataclass(frozen=True)
class Finding:
    """What was found of one image.

    Attributes:
        image: its place in the batch; layers: "all" is the last; departure: of the linearisation at the equivalent mu
            (`leak.departure`); target: (C, H, W) and draws: (K, C, H, W), posterior samples, on [-1, 1].
    """

    image: int
    layers: list[LayerLeak]
    departure: float
    target: torch.Tensor
    draws: torch.Tensor


def find(
    step: RecordedStep, i: int, adversary: Adversary, folder: Path, draws: int = 2, effort: Effort = DEFAULT
) -> Finding:
    """Leak and attack of the i-th image of the batch; kept in `folder`, readable by its owner alone, and read again if
    the same is asked."""
    seen, sigma = step.seen(i), step.setting.sigma
    key = ("recorded", step.setting.step, i, float(seen.double().sum()), str(effort), draws)
    path = folder / f"image-{i}-{seed_of(*key):x}.safetensors"
    if not path.exists():
        told = step.gradient(i, told=True)
        found = []
        for name, part in leak.leaks(told, step.images[i], adversary.gaussian, key).items():
            mu = part.equivalent_mu(sigma)
            found.append(LayerLeak(name, part.share, mu.value, mu.low, mu.high))
        off = leak.departure(told, step.images[i], adversary.gaussian, key, found[-1].equivalent_mu)
        samples = posterior_samples(step.gradient(i), seen, sigma, adversary, key, draws, effort).clamp(LOW, HIGH)
        about = {"layers": json.dumps([asdict(layer) for layer in found]), "departure": repr(off)}
        records.write(path, {"draws": samples}, about, private=True)
    tensors, about = records.read(path)
    layers = [LayerLeak(**layer) for layer in json.loads(about["layers"])]
    return Finding(i, layers, float(about["departure"]), step.images[i], tensors["draws"])


def sentence(step: RecordedStep, findings: list[Finding]) -> str:
    """What a person is told."""
    setting = step.setting
    mus = [found.layers[-1].equivalent_mu for found in findings]
    departure = sum(found.departure for found in findings) / len(findings)
    found = (
        f"At your setting (noise multiplier {setting.noise_multiplier:g}, expected batch {setting.divisor:g}) this "
        f"network's gradients at step {setting.step} leave an equivalent mu of {sum(mus) / len(mus):.3g} "
        f"({min(mus):.3g} to {max(mus):.3g} over {len(mus)} images). A layer planted by a malicious server has "
        f"{1 / setting.noise_multiplier:.3g}."
    )
    limits = (
        "This is measured for small changes of these images, at these weights, by an adversary that knows the weights, "
        "the class and the rest of the batch. For changes as large as what stays uncertain the linearisation is off by "
        f"{departure:.0%}. It is no bound: a malicious server can plant a layer that leaks more, and only differential "
        "privacy limits what it learns (vpaudit bound, vpaudit account)."
    )
    return "\n\n".join(textwrap.fill(paragraph, 100) for paragraph in (found, limits))
