"""The clipped gradient of one image as a function of that image, and its derivative, never formed.

Opacus releases f(x) = lambda g(x) of an image x, g its gradient by the P weights and lambda = min(1, C / (|g| + e)), e
= 1e-6. In the released sum every other image of the batch is known to the adversary of differential privacy. With
u = g / |g| and G = dg/dx (P x N):

    not clipped            df/dx = G
    clipped                df/dx = lambda (1 - |g| / (|g| + e) u u') G
    clipped, lambda told   df/dx = lambda G

A clipped gradient has the norm C whatever the image is: what changes along it is lost, unless |g| is told, as it is in
the release y = lambda x + sigma z of this library. To be told it only ever helps the adversary: G' G - G' u u' G is
never above G' G. With clipping per layer the same holds for each parameter's own part.

df/dx is exact where the network is smooth. Networks of ReLU or max-pooling have gradients that jump where a unit turns
on; the derivative sees none of that, so what is derived from it holds near the image, and no bound follows.
"""

from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from vpaudit.base.errors import VpauditError

EPSILON = 1e-6  # what Opacus adds to a norm that it divides by
LARGE = 1e6  # parameters, from which on forward differentiation is the faster one
AT_ONCE = 64e6  # values of gradients held at once when several directions are pushed through the network

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class ClippedGradient:
    """f(x) of images of one class, seen through one network.

    Args:
        network: called in evaluation mode; its parameters that require a gradient are those that are trained.
        label: the image's class. loss: (logits (1, classes), labels (1,)) -> scalar.
        max_grad_norm: C > 0, or the clipping norms of the parameters, one each, where Opacus clips per layer.
        told: whether the adversary is told lambda; the value of f is the same, its derivative is not.

    Raises:
        VpauditError: a network without trained parameters, clipping norms of another number.
    """

    def __init__(
        self, network: nn.Module, label: int, max_grad_norm: float | Sequence[float],
        loss: Loss = nn.functional.cross_entropy, told: bool = False,
    ):  # fmt: skip
        self.network, self.loss, self.told = network.eval(), loss, told
        self.parameters = {n: p.detach() for n, p in network.named_parameters() if p.requires_grad}
        if not self.parameters:
            raise VpauditError("the network has no parameter that is trained", "let some require a gradient")
        self.label = torch.tensor([label], device=next(iter(self.parameters.values())).device)
        sizes = [parameter.numel() for parameter in self.parameters.values()]
        self.limits = [max_grad_norm] if isinstance(max_grad_norm, float | int) else list(max_grad_norm)
        self.groups = [sum(sizes)] if len(self.limits) == 1 else sizes
        if len(self.limits) != len(self.groups):
            raise VpauditError(
                f"{len(self.limits)} clipping norms for {len(sizes)} parameters", "give one norm, or one a parameter"
            )

    def raw(self, x: torch.Tensor) -> torch.Tensor:
        """(P,): g, the gradient of the loss at one image x (C, H, W), not clipped."""

        def loss(parameters):
            with sdpa_kernel(SDPBackend.MATH):  # the only kernel of attention that has second derivatives
                logits = torch.func.functional_call(self.network, parameters, (x[None],))
            return self.loss(logits, self.label)

        return torch.cat([part.flatten() for part in torch.func.grad(loss)(self.parameters).values()])

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """(P,): f, as Opacus clips it."""
        parts = zip(self.raw(x).split(self.groups), self.limits)
        return torch.cat([part * (limit / (part.norm() + EPSILON)).clamp(max=1.0) for part, limit in parts])

    def layers(self) -> dict[str, torch.Tensor]:
        """By the name of each module that holds trained parameters: bool (P,), which coordinates of f are its own."""
        names = [name.rpartition(".")[0] or name for name in self.parameters]
        layers = list(dict.fromkeys(names))
        sizes = torch.tensor([parameter.numel() for parameter in self.parameters.values()])
        owners = torch.tensor([layers.index(name) for name in names]).repeat_interleave(sizes)
        return {name: owners == place for place, name in enumerate(layers)}

    def at(self, x: torch.Tensor) -> "Derivative":
        """df/dx at one image x (C, H, W)."""
        return Derivative(self, x)


class Derivative:
    """df/dx at an image, as products with it.

    Attributes:
        value: (P,) f(x). clip: (groups,) lambda, one unless Opacus clips per layer.
    """

    def __init__(self, gradient: ClippedGradient, x: torch.Tensor):
        self.gradient, self.x = gradient, x
        raw, self._pull = torch.func.vjp(gradient.raw, x)
        # the transpose of the transpose, for one direction: ten times as fast as forward differentiation, which starts
        # anew each time, but in large networks ten times as slow
        _, self._push = torch.func.vjp(lambda u: self._pull(u)[0], torch.zeros_like(raw))
        parts, limits = raw.split(gradient.groups), gradient.limits
        norms = torch.stack([part.norm() for part in parts])
        self.clip = (torch.tensor(limits).to(norms) / (norms + EPSILON)).clamp(max=1.0)
        self.value = self._scaled(raw)
        lost = torch.where((self.clip < 1) & (not gradient.told), norms / (norms + EPSILON), 0.0)
        self._axis = torch.cat([a.sqrt() * p / n.clamp_min(1e-30) for p, n, a in zip(parts, norms, lost)])
        self._chunk = max(1, int(AT_ONCE / len(raw)))

    def push(self, v: torch.Tensor) -> torch.Tensor:
        """(K, P): df/dx v, for directions v (K, C, H, W)."""
        one = len(v) == 1 and len(self.value) < LARGE
        return self._clipped(self._each(self._push if one else self._forward, v))

    def pull(self, u: torch.Tensor) -> torch.Tensor:
        """(K, C, H, W): (df/dx)' u, for u (K, P)."""
        return self._each(self._pull, self._clipped(u))

    def _forward(self, v: torch.Tensor) -> tuple[torch.Tensor]:
        return (torch.func.jvp(self.gradient.raw, (self.x,), (v,))[1],)

    def _each(self, product: Callable, directions: torch.Tensor) -> torch.Tensor:
        if len(directions) == 1:  # without the cost of vmap
            return product(directions[0])[0][None]
        return torch.func.vmap(lambda one: product(one)[0], chunk_size=self._chunk)(directions)

    def _scaled(self, u: torch.Tensor) -> torch.Tensor:
        parts = zip(u.split(self.gradient.groups, dim=-1), self.clip)
        return torch.cat([factor * part for part, factor in parts], dim=-1)

    def _clipped(self, u: torch.Tensor) -> torch.Tensor:
        """The derivative of clipping, a symmetric matrix, times u (K, P)."""
        parts = zip(u.split(self.gradient.groups, dim=-1), self._axis.split(self.gradient.groups))
        return self._scaled(torch.cat([part - (part @ axis)[:, None] * axis for part, axis in parts], dim=-1))
