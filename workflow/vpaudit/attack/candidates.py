"""The adversary that reconstruction robustness is about: it holds n candidates, one is the target, and names one.

    matched_filter   one release y = lambda x + sigma z: the candidate of greatest likelihood, which for clipped images
                     (all of norm C) is that of greatest <y, lambda_i x_i>. Of equally likely candidates it is the
                     most probable one (maximum a posteriori), and no rule names the target more often.
    gradient_attack  a training run by DP-SGD (Hayes et al. 2302.07225, their prior-aware attack): it knows every model
                     theta_t, every privatised gradient g_t, and all other records, whose clipped gradients it
                     subtracts; score_i = sum_t <clipped grad of candidate i at theta_t, g_t>.

Success is bounded by gamma = Phi(mu + Phi^-1(1/n)); among orthogonal candidates of equal norm the matched filter
reaches E[Phi(Z + mu)^(n-1)] (`bounds.rero.matched_filter_success`). Similar candidates are harder to tell apart.
"""

from dataclasses import dataclass

import torch
from torch import nn

from vpaudit.privacy.mechanism import Mechanism, dp_optimizer


def matched_filter(y: torch.Tensor, candidates: torch.Tensor, mechanism: Mechanism) -> torch.Tensor:
    """int64 (B,): the candidate of greatest likelihood for each release.

    Args:
        y: (B, C, H, W) releases; candidates: (n, C, H, W), the same for all.
    """
    lam = mechanism.clip_factor(candidates)
    signals = (lam[:, None] * candidates.flatten(1).double()).T
    scores = y.flatten(1).double() @ signals - signals.square().sum(0) / 2
    return scores.argmax(dim=1)


@dataclass(frozen=True)
class Run:
    """One training run by DP-SGD in which the target took part in every step.

    Attributes:
        scores: float64 (n,) of the candidates; target: place of the true one.
    """

    scores: torch.Tensor
    target: int

    @property
    def named(self) -> bool:
        """Whether the adversary names the target."""
        return int(self.scores.argmax()) == self.target


def gradient_attack(
    model: nn.Module,
    candidates: tuple[torch.Tensor, torch.Tensor],
    others: tuple[torch.Tensor, torch.Tensor],
    target: int,
    mechanism: Mechanism,
    steps: int,
    lr: float,
    key: tuple,
) -> Run:
    """Train on `others` and one candidate by full-batch DP-SGD with Opacus, and attack what it releases.

    Args:
        model: classifier, trained in place; candidates, others: images (n, ...) and labels (n,).
        mechanism: of one step, mu = C / sigma; the run's mu is sqrt(steps) times that.
        key: names the run's noise.
    """
    from opacus import GradSampleModule

    wrapped = GradSampleModule(model, loss_reduction="sum")
    optimizer = dp_optimizer(wrapped.parameters(), mechanism, (*key, "gradient attack"), lr=lr)
    batch = [torch.cat([rest, mine[target : target + 1]]) for rest, mine in zip(others, candidates)]
    scores = torch.zeros(len(candidates[0]), dtype=torch.float64)
    for _ in range(steps):
        known = clipped_gradients(wrapped, others, mechanism.max_grad_norm).sum(dim=0)
        guesses = clipped_gradients(wrapped, candidates, mechanism.max_grad_norm)
        _backward(wrapped, *batch)
        optimizer.pre_step()
        released = torch.cat([p.grad.flatten() for p in wrapped.parameters()]).double()
        residual = released - known
        scores += guesses @ residual - guesses.square().sum(dim=1) / 2
        optimizer.original_optimizer.step()
        optimizer.zero_grad()
    wrapped.remove_hooks()
    return Run(scores, target)


def clipped_gradients(wrapped, records: tuple[torch.Tensor, torch.Tensor], max_grad_norm: float) -> torch.Tensor:
    """float64 (n, P): per-record gradients of cross-entropy, clipped as Opacus clips them."""
    _backward(wrapped, *records)
    rows = torch.cat([p.grad_sample.flatten(1) for p in wrapped.parameters()], dim=1).double()
    for parameter in wrapped.parameters():
        parameter.grad = parameter.grad_sample = None
    return rows * (max_grad_norm / (rows.norm(dim=1, keepdim=True) + 1e-6)).clamp_max(1.0)


def _backward(wrapped, images: torch.Tensor, labels: torch.Tensor) -> None:
    nn.functional.cross_entropy(wrapped(images), labels, reduction="sum").backward()
