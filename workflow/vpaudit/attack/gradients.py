"""Images inside real gradients: an imprint layer in front of a classifier, a batch, and DP-SGD by Opacus.

A malicious server puts a linear layer of K rows w_k, biases b_k beside a network, on the image itself and wired to the
logits; each row's gradient is a sum of images, sum_b delta_kb x_b, delta_kb = dL_b / d(row k's output). Designs:

    fowl     ReLU rows that share one measurement, the image's mean, with biases at quantiles of it: row k fires for
             every image above bin k (Fowl et al. 2110.13057)
    sparse   the same with a clipped ramp for each bin, so that a row holds its own bin's images alone (their "sparse")
    trap     rows half negative, half positive times 0.95, so that few images fire a row (Boenisch et al. 2112.02918)

DP-SGD clips the gradient g_b of all parameters of an image to C and adds N(0, sigma^2) to the sum, so the released rows
are G = M X + sigma Z with M_kb = delta_kb min(1, C / |g_b|). To an adversary that is told M (as lambda is told in the
simple release) least squares gives every image that M separates, X' = M^+ G, with noise s_b = sigma sqrt((M'M)^-1_bb):
an observation like any other. What the other layers and rows take of an image's clipped gradient is lost to it: its
effective mu is |x_b| / s_b = share_b C / sigma, share_b <= 1, and 1 only if all of the gradient is the image.
"""

from dataclasses import dataclass

import torch
from torch import nn

from vpaudit.base.errors import VpauditError
from vpaudit.privacy.mechanism import Mechanism, Observation, dp_optimizer

DESIGNS = ("fowl", "sparse", "trap")
SEPARABLE = 1e-6  # how far (M^+ M)_bb may be from 1


class ImprintNetwork(nn.Module):
    """A small convolutional classifier with an imprint layer whose outputs are added to the logits.

    The gradient delta x of a row does not depend on the row's own size, so the server keeps the rows small (the logits
    hardly change, softmax does not saturate) and the wiring behind them strong.

    Args:
        shape: (C, H, W); rows: K >= 3; classes: of the classifier.
        design: "fowl", "sparse" or "trap".
        public: float32 (N, C, H, W) images of the kind, from which the server takes the quantiles of its bins.
        strength: of the wiring, > 0; a weak one leaves the clipped gradient to the other layers.
        seed: of the weights.
    """

    def __init__(self, shape, rows: int, classes: int, design: str, public: torch.Tensor, strength=1.0, seed=0):
        super().__init__()
        if design not in DESIGNS:
            raise VpauditError(f"imprint design {design!r}", f"use one of {', '.join(DESIGNS)}")
        size, self.design = shape[0] * shape[1] * shape[2], design
        self.small = 1.0 / (strength * rows)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.imprint, self.wiring = nn.Linear(size, rows), nn.Linear(rows, classes)
            self.classifier = nn.Sequential(
                nn.Conv2d(shape[0], 8, 5, stride=2, padding=2), nn.Tanh(), nn.Conv2d(8, 16, 5, stride=2, padding=2),
                nn.Tanh(), nn.Flatten(), nn.LazyLinear(classes),
            )  # fmt: skip
            self.classifier(torch.zeros(1, *shape))
            with torch.no_grad():
                self._set_rows(public.flatten(1), rows, size)
                # the same for every row, so that delta is the same for all rows an image fires
                self.wiring.weight.copy_(strength * torch.randn(classes, 1).expand(classes, rows))

    def _set_rows(self, public: torch.Tensor, rows: int, size: int) -> None:
        if self.design == "trap":
            order = torch.stack([torch.randperm(size) for _ in range(rows)])
            sign = torch.where(order < size // 2, -1.0, 0.95)
            self.imprint.weight.copy_(torch.randn(rows, size).abs() * 0.5 * sign * self.small)
            self.imprint.bias.zero_()
            return
        edges = torch.quantile(public.mean(dim=1), torch.linspace(0, 1, rows + 2)[:-2])
        widths = torch.cat([edges.diff(), torch.ones(1)]).clamp_min(1e-4)  # the last bin is open
        scale = self.small / (widths if self.design == "sparse" else torch.ones(rows))
        self.imprint.weight.copy_(torch.full((rows, size), 1 / size) * scale[:, None])
        self.imprint.bias.copy_(-edges * scale)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (B, classes)."""
        fired = self.imprint(x.flatten(1))
        fired = nn.functional.hardtanh(fired, 0.0, self.small) if self.design == "sparse" else fired.relu()
        return self.classifier(x) + self.wiring(fired)


@dataclass(frozen=True)
class Released:
    """One noisy DP-SGD gradient, seen by the server.

    Attributes:
        rows: float32 (K, D), the imprint layer's part; sigma: std of its noise.
        mixing: float64 (K, B), M: what the adversary is told instead of lambda.
        blank: float32 (M,), coordinates of rows that no image fires: nothing but noise.
    """

    rows: torch.Tensor
    sigma: float
    mixing: torch.Tensor
    blank: torch.Tensor


def release(
    network: ImprintNetwork, x: torch.Tensor, labels: torch.Tensor, mechanism: Mechanism, seed: int, key: tuple
) -> Released:
    """One DP-SGD step of Opacus on a batch x (B, C, H, W) with labels (B,); `key` names the batch for its noise."""
    from opacus import GradSampleModule

    model = GradSampleModule(network, loss_reduction="sum")
    optimizer = dp_optimizer(model.parameters(), mechanism, (seed, *key, f"mu={mechanism.mu:g}", "imprint"))
    try:
        optimizer.zero_grad()
        logits = model(x.clone().requires_grad_())
        nn.functional.cross_entropy(logits, labels, reduction="sum").backward()
        norms = torch.stack([p.grad_sample.flatten(1).norm(dim=1) for p in model.parameters()]).norm(dim=0)
        clip = (mechanism.max_grad_norm / (norms + 1e-6)).clamp_max(1.0).double()  # Opacus' own form
        delta = network.imprint.bias.grad_sample.double()
        optimizer.pre_step()
        rows = network.imprint.weight.grad.detach().clone()
    finally:
        model.remove_hooks()
        for parameter in network.parameters():
            parameter.grad = parameter.grad_sample = None
    mixing = (clip[:, None] * delta).T
    return Released(rows, mechanism.sigma, mixing, rows[(mixing == 0).all(dim=1)].flatten())


def observe(released: Released, shape, ids, labels, dataset: str, mu: float) -> tuple[Observation, torch.Tensor]:
    """Least squares on the released rows: an observation of each image that can be separated, and which those are.

    Returns:
        observation of the separable images (lambda 1, sigma = s_b), and bool (B,).
    """
    inverse = torch.linalg.pinv(released.mixing)
    apart = (inverse @ released.mixing).diagonal()
    noise = released.sigma * inverse.norm(dim=1)
    separable = ((apart - 1).abs() < SEPARABLE) & (noise > 0)
    images = (inverse @ released.rows.double())[separable].view(-1, *shape)
    blank = None if not len(released.blank) else released.blank.expand(len(images), -1)
    seen = Observation(
        images.float(), torch.ones(len(images), dtype=torch.float64), noise[separable], ids[separable],
        labels[separable], dataset, mu, blank,
    )  # fmt: skip
    return seen, separable


def share(seen: Observation, x: torch.Tensor, mu: float) -> torch.Tensor:
    """float64 (B,): effective mu |x| / s over the mechanism's mu = C / sigma; x are the images of `seen`."""
    return x.flatten(1).double().norm(dim=1) / seen.s / mu
