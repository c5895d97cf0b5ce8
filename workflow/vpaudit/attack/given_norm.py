"""The attack that is told lambda, and uses it: lambda = C / |x| of a clipped image tells |x| = r.

    E[x | y, |x| = r], given what a prior makes of y alone

Gaussian prior (exact). Given y, x has independent parts w_i + sqrt(v_i) z_i along the prior's basis, and |x|^2 has the
cumulant function K(q) = sum of -1/2 ln(1 - 2 q v_i) + q w_i^2 / (1 - 2 q v_i). Its density at r^2, and the expectation
of x_i there, are Fourier integrals along q = q0 + i u:

    E[x_i | |x| = r] = integral of w_i / (1 - 2 q v_i) e^(K(q) - q r^2) du / integral of e^(K(q) - q r^2) du

and q0 with K'(q0) = r^2 is the saddle point, where the integrand is largest and does not cancel.

Network. Its posterior mean in place of w, with the Gaussian posterior's variances v: an approximation.

Reference images (public, of the kind). A sample of the prior, weighted by the likelihood of y and by a normal kernel in
the norm: importance sampling, exact for many references and a narrow kernel. Where y says little (mu up to about 5)
thousands of references share the weight, and no network is needed; where y says much, one takes it all.

Each is best at some mu. `Blend` weighs them, no weight below 0, by least squares on public images that are attacked in
the same way (stacking, Breiman 1996): the weights are learnt, nothing of a target is used.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import nnls

from vpaudit.base.denoiser import Denoiser
from vpaudit.base.errors import VpauditError
from vpaudit.base.pixels import per_image
from vpaudit.priors.gaussian import GaussianPrior
from vpaudit.privacy.mechanism import Observation

NODES, REACH = 161, 10.0  # of the integral over u, and how far it goes in units of 1 / sqrt(K''(q0))
WIDTHS = (0.1, 0.35)  # of the kernel in the norm, in standard deviations of the references' norms
RIDGE = 1e-6  # of the blend, as a share of the estimates' energy


def told_norm(seen: Observation, max_grad_norm: float) -> torch.Tensor:
    """float64 (B,): |x| = C / lambda, on [-1, 1].

    Raises:
        VpauditError: an image was not clipped, so lambda = 1 tells only that |x| <= C.
    """
    if bool((seen.lam >= 1).any()):
        raise VpauditError(
            f"lambda=1 for image {int(seen.ids[seen.lam.argmax()])}: it was not clipped, its norm is not told",
            f"choose max_grad_norm below {max_grad_norm:g}, or attack it without the norm",
        )
    return max_grad_norm / seen.lam


def given_norm(
    prior: GaussianPrior, x: torch.Tensor, s: torch.Tensor, norm: torch.Tensor, centre: torch.Tensor | None = None
) -> torch.Tensor:
    """E[x0 | x0 + s z = x, |x0| = norm] of a Gaussian prior, like x; to 1e-5 from some 15 directions on.

    Args:
        x: (B, C, H, W); s, norm: (B,) > 0; centre: posterior means (B, C, H, W) of another prior in place of its own.
    """
    basis, s2 = prior.basis.double(), s.double()[:, None] ** 2
    variances = prior.variances.double()
    v = (variances * s2 / (variances + s2)).to(torch.complex128)
    mean = prior.denoise(x, s.to(x.dtype)) if centre is None else centre
    w = (mean.flatten(1).double() @ basis).to(torch.complex128)
    square = norm.double() ** 2
    saddle = _saddle(w.real, v.real, square)
    kept = 1 - 2 * saddle[:, None] * v.real
    step = (2 * v.real**2 / kept**2 + 4 * w.real**2 * v.real / kept**3).sum(dim=1).rsqrt()

    def exponent(q):
        tilted = 1 - 2 * q[:, None] * v
        return (q[:, None] * w**2 / tilted - tilted.log() / 2).sum(dim=1) - q * square, w / tilted

    top = exponent(saddle.to(torch.complex128))[0]
    total, weighted = torch.zeros_like(top), torch.zeros_like(w)
    for u in torch.linspace(-REACH, REACH, NODES, dtype=torch.float64):
        value, tilted_mean = exponent(torch.complex(saddle, u * step))
        weight = (value - top).exp()
        total, weighted = total + weight, weighted + weight[:, None] * tilted_mean
    return ((weighted / total[:, None]).real @ basis.T).to(x.dtype).view_as(x)


def _saddle(w: torch.Tensor, v: torch.Tensor, square: torch.Tensor) -> torch.Tensor:
    """float64 (B,): q0 < 1 / (2 max v) with sum v / (1 - 2 q v) + w^2 / (1 - 2 q v)^2 = r^2, by bisection in 1 / ."""
    most = 1 / (2 * v.amax(dim=1))
    low = most - (v + w**2).sum(dim=1) * 1e3 / square - 1e3 * w.shape[1] / square  # below: the sum is under r^2
    high = most
    for _ in range(200):
        middle = (low + high) / 2
        kept = 1 - 2 * middle[:, None] * v
        above = (v / kept + w**2 / kept**2).sum(dim=1) > square
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    return low


def references_given_norm(
    references: torch.Tensor, x: torch.Tensor, s: torch.Tensor, norm: torch.Tensor, width: float
) -> torch.Tensor:
    """Mean of the reference images weighted by the likelihood of x and by how near their norm is, like x.

    Args:
        references: (M, C, H, W), none of the targets; x, s, norm: as in `given_norm`.
        width: of the kernel, in standard deviations of the references' norms; inf leaves the norm out.
    """
    flat = references.flatten(1).double()
    norms = flat.norm(dim=1)
    s2 = s.double()[:, None] ** 2
    log_weights = (x.flatten(1).double() @ flat.T - norms**2 / 2) / s2
    log_weights = log_weights - ((norm.double()[:, None] - norms) / (width * norms.std())) ** 2 / 2
    return (log_weights.softmax(dim=1) @ flat).to(x.dtype).view_as(x)


def estimates(
    network: Denoiser, gaussian: GaussianPrior, references: torch.Tensor, seen: Observation, max_grad_norm: float
) -> torch.Tensor:
    """(5, B, C, H, W): network; network given the norm; Gaussian given the norm; references, narrow and wide kernel."""
    x, s, norm = seen.rescaled(), seen.s, told_norm(seen, max_grad_norm)
    mean = network.denoise(x, s.float())
    weighted = [references_given_norm(references, x, s, norm, width) for width in WIDTHS]
    return torch.stack([mean, given_norm(gaussian, x, s, norm, mean), given_norm(gaussian, x, s, norm), *weighted])


@dataclass(frozen=True)
class Blend:
    """Weights of several estimates of an image's deviation from the mean image.

    Attributes:
        mean: (C, H, W); weights: float64 (K,), each >= 0.
    """

    mean: torch.Tensor
    weights: np.ndarray

    @classmethod
    def fit(cls, estimates: torch.Tensor, images: torch.Tensor, mean: torch.Tensor) -> "Blend":
        """Least squares of images (B, C, H, W), none of the targets, on the estimates (K, B, C, H, W) made of them."""
        columns = (estimates - mean).flatten(1).double().numpy()
        products = columns @ columns.T
        factor = np.linalg.cholesky(products + RIDGE * np.trace(products) * np.eye(len(products)))
        aims = columns @ (images - mean).flatten().double().numpy()
        return cls(mean, nnls(factor.T, np.linalg.solve(factor, aims))[0])

    def __call__(self, estimates: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W)."""
        weights = per_image(torch.as_tensor(self.weights, dtype=estimates.dtype))
        return self.mean + (weights[..., None] * (estimates - self.mean)).sum(dim=0)
