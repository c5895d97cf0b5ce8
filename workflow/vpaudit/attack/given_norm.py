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

Each is best at some mu. `stacked` weighs them, weights >= 0 of sum 1, by least squares on public images that are
attacked in the same way (stacking, Breiman 1996): the weights are learnt, nothing of a target is used. Where no public
images are, the network given the norm is taken alone. An image that was not clipped does not reveal its norm, only that
it is at most C: its plain posterior mean is taken. `GivenNorm` is the attack.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import nnls

from vpaudit.attack.reconstruct import reconstruct
from vpaudit.base.denoiser import Denoiser
from vpaudit.base.errors import VpauditError
from vpaudit.base.pixels import HIGH, LOW
from vpaudit.base.randomness import generator
from vpaudit.priors.gaussian import GaussianPrior
from vpaudit.priors.spectral import SpectralPrior
from vpaudit.privacy.mechanism import Mechanism, Observation, release_analytic
from vpaudit.study.config import Attack

NODES, REACH = 41, 10.0  # of the integral over u >= 0, and how far it goes in units of 1 / sqrt(K''(q0))
HALVINGS = 60  # of the bracket of the saddle point
WIDTHS = (0.1, 0.35)  # of the kernel in the norm, in standard deviations of the references' norms
RIDGE = 1e-6  # of the stacking, as a share of the errors' energy
CALIBRATION = 256  # public images, at most a quarter of all, on which weights are learnt; the others are references
FEWEST = 16  # of them that must be clipped
VALUES_AT_ONCE = 100_000  # of images whose integrals are held at once
MEAN = Attack(name="posterior_mean", kind="posterior_mean")


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
    prior: GaussianPrior | SpectralPrior,
    x: torch.Tensor,
    s: torch.Tensor,
    norm: torch.Tensor,
    centre: torch.Tensor | None = None,
) -> torch.Tensor:
    """E[x0 | x0 + s z = x, |x0| = norm] of a Gaussian prior, like x; to 1e-5 from some 15 directions on.

    Args:
        x: (B, C, H, W); s, norm: (B,) > 0; centre: posterior means (B, C, H, W) of another prior in place of its own.
    """
    s2 = s.double()[:, None] ** 2
    variances = prior.variances.flatten().double()
    v = variances * s2 / (variances + s2)
    mean = prior.denoise(x, s.to(x.dtype)) if centre is None else centre
    w = prior.coordinates(mean.double())
    square = norm.double() ** 2
    saddle = _saddle(w, v, square)
    kept = 1 - 2 * saddle[:, None] * v
    step = (2 * v**2 / kept**2 + 4 * w**2 * v / kept**3).sum(dim=1).rsqrt()

    def exponent(t):
        """At q = saddle + i t; and the tilted mean in two parts: real arithmetic takes half as long as complex."""
        turned = 2 * t[:, None] * v  # 1 - 2 q v = kept - i turned
        size = kept**2 + turned**2
        mean = w * kept / size, w * turned / size
        log = torch.complex(size.log().sum(dim=1) / 2, -(turned / kept).atan().sum(dim=1))
        along = torch.complex(*((w * part).sum(dim=1) for part in mean))
        return torch.complex(saddle, t) * (along - square) - log / 2, mean

    top = exponent(torch.zeros_like(saddle))[0]
    total, weighted = torch.zeros_like(saddle), torch.zeros_like(w)
    for u in torch.linspace(0, REACH, NODES, dtype=torch.float64):
        value, (real, imaginary) = exponent(u * step)
        weight = (value - top).exp() * (0.5 if u == 0 else 1.0)  # at -u it is the conjugate
        total += weight.real
        weighted += weight.real[:, None] * real - weight.imag[:, None] * imaginary
    return prior.image(weighted / total[:, None]).to(x.dtype)


def _saddle(w: torch.Tensor, v: torch.Tensor, square: torch.Tensor) -> torch.Tensor:
    """float64 (B,): q0 < 1 / (2 max v) with sum v / (1 - 2 q v) + w^2 / (1 - 2 q v)^2 = r^2, by bisection."""
    most = 1 / (2 * v.amax(dim=1))
    low = most - (v + w**2).sum(dim=1) * 1e3 / square - 1e3 * w.shape[1] / square  # below: the sum is under r^2
    high = most
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        kept = 1 - 2 * middle[:, None] * v
        above = (v / kept + w**2 / kept**2).sum(dim=1) > square
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    return low


def references_given_norm(
    references: torch.Tensor, x: torch.Tensor, s: torch.Tensor, norm: torch.Tensor, widths=WIDTHS
) -> list[torch.Tensor]:
    """Means of the reference images weighted by the likelihood of x and by how near their norm is, each like x.

    Args:
        references: (M, C, H, W), none of the targets; x, s, norm: as in `given_norm`.
        widths: of the kernels, in standard deviations of the references' norms; inf leaves the norm out.
    """
    flat = references.flatten(1).double()
    norms = flat.norm(dim=1)
    likelihood = (x.flatten(1).double() @ flat.T - norms**2 / 2) / s.double()[:, None] ** 2
    away = (norm.double()[:, None] - norms) / norms.std()
    weights = [(likelihood - (away / width) ** 2 / 2).softmax(dim=1) for width in widths]
    return [(weight @ flat).to(x.dtype).view_as(x) for weight in weights]


def stacked(estimates: torch.Tensor, images: torch.Tensor) -> np.ndarray:
    """float64 (K,): weights >= 0 of sum 1 of least squared error of estimates (K, B, C, H, W) of images (B, C, H, W).

    With P the estimates' error products it minimizes w' P w; scaled to sum 1, that is w' P w / 2 - sum w for w >= 0.
    """
    errors = (estimates - images).flatten(1).double().numpy()
    products = errors @ errors.T
    factor = np.linalg.cholesky(products + RIDGE * np.trace(products) * np.eye(len(products)))
    weights = nnls(factor.T, np.linalg.solve(factor, np.ones(len(products))))[0]
    return weights / weights.sum()


@dataclass(frozen=True)
class GivenNorm:
    """The attack.

    Attributes:
        network, gaussian: the adversary's priors; max_grad_norm: C.
        references: (M, C, H, W), public images; weights: (5,), of the `estimates`; both None where none are known.
    """

    network: Denoiser
    gaussian: GaussianPrior | SpectralPrior
    max_grad_norm: float
    references: torch.Tensor | None = None
    weights: np.ndarray | None = None

    def reconstruct(self, seen: Observation) -> torch.Tensor:
        """float32 (B, C, H, W), clipped to [-1, 1]: of each image what depends on it alone."""
        made = reconstruct(seen, self.network, MEAN, seed=0).cpu()
        clipped = seen.lam < 1
        if bool(clipped.any()):
            made[clipped] = self._told(seen[clipped], made[clipped]).clamp(LOW, HIGH)
        return made

    def _told(self, seen: Observation, mean: torch.Tensor) -> torch.Tensor:
        if self.weights is None:
            return self._given_norm(seen, mean)
        weights = torch.as_tensor(self.weights, dtype=mean.dtype)
        return torch.einsum("k,kbchw->bchw", weights, self.estimates(seen, mean))

    def _given_norm(self, seen: Observation, centre: torch.Tensor | None) -> torch.Tensor:
        norm = told_norm(seen, self.max_grad_norm)
        inputs = [seen.rescaled(), seen.s, norm, *([] if centre is None else [centre])]
        parts = zip(*(values.split(max(1, VALUES_AT_ONCE // seen.y[0].numel())) for values in inputs))
        return torch.cat([given_norm(self.gaussian, *part) for part in parts])

    def estimates(self, seen: Observation, mean: torch.Tensor) -> torch.Tensor:
        """(5, B, C, H, W): network; it and the Gaussian given the norm; references, narrow and wide kernel.

        Args:
            seen: of clipped images; mean: the network's posterior means.
        """
        told = [self._given_norm(seen, centre) for centre in (mean, None)]
        norm = told_norm(seen, self.max_grad_norm)
        return torch.stack([mean, *told, *references_given_norm(self.references, seen.rescaled(), seen.s, norm)])


def learn(attack: GivenNorm, public: torch.Tensor, mechanism: Mechanism, dataset: str, seed: int) -> np.ndarray:
    """float64 (5,): the weights, learnt on public images (M, C, H, W), none of `attack.references`.

    Each is released and attacked at this mechanism's mu; its noise is keyed by its place. Of too few clipped images
    nothing can be learnt: all weight goes to the network given the norm.
    """
    ids, labels = torch.arange(len(public)), torch.full((len(public),), -1)
    seen = release_analytic(public, ids, labels, mechanism, f"{dataset}, public", seed)
    clipped = seen.lam < 1
    if int(clipped.sum()) < FEWEST:
        return np.eye(5)[1]
    mean = reconstruct(seen[clipped], attack.network, MEAN, seed).cpu()
    return stacked(attack.estimates(seen[clipped], mean), public[clipped])


def divided(public: torch.Tensor, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Public images, by a random order: those to learn from, and the references."""
    order = torch.randperm(len(public), generator=generator(seed, "public"))
    count = min(CALIBRATION, len(public) // 4)
    return public[order[:count]], public[order[count:]]
