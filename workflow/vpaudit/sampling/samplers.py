"""Samplers: from x = x0 + sigma z down an explicit list of noise levels. They know no data set and no file.

All work in sigma (variance-exploding coordinates), with one list an image, because s = |x| / mu differs by image. D is
the posterior mean E[x0 | x] at the current level, sigma the current level, sigma' the next one, z fresh noise.

    ddim       x' = D + sqrt(sigma'^2 - v) (x - D) / sigma + sqrt(v) z,   v = eta^2 sigma'^2 (1 - sigma'^2 / sigma^2)
               (Song et al. 2010.02502, eq. 12, over sqrt(abar')). eta = 0 is DDIM; eta = 1 is DDPM's ancestral step
               with the posterior ("fixed_small") variance (Ho et al. 2006.11239).
    multistep  x' = r^p x + integral of p e^(-p (h - u)) D(u) du over [0, h] + sigma' sqrt(1 - r^(2 eta^2)) z,
               r = sigma' / sigma, h = -log r, p = 1 + eta^2, with D a polynomial through the last `order` calls
               (Xue et al. 2309.05019, eq. 11). Order 1 is ddim at eta = 0 and at 1; order 2 is DPM-Solver++ 2M at
               eta = 0 (Lu et al. 2211.01095) and its SDE form at eta = 1.
    heun       Karras et al. 2206.00364, algorithms 1 and 2: two calls a step, the last step one; `churn` > 0 first
               raises the noise to sigma (1 + churn).
    ddrm       x' = D + sqrt(1 - eta^2) sigma' (y - D) / s + eta sigma' z: anchored to the measurement y of noise s
               (Kawar et al. 2201.11793 with H = I and eta_b = 1, whose first level is the measurement itself).
    linear     x' = c_0 y + sum_j c_j D_j + closed-form terms of a Gaussian prior, over all calls so far, with
               coefficients fitted to a prior (`fewstep`).

A column of zeros ends the list: its step is x' = D, except in `linear`.
"""

import warnings
from collections.abc import Callable, Iterator

import torch

from vpaudit.base.denoiser import Denoiser
from vpaudit.base.errors import VpauditError
from vpaudit.base.pixels import per_image

SIGMA_LAST = 0.02  # the last noise level before 0: two and a half of 255 grey levels

Denoise = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Noise = Callable[[], torch.Tensor]


def noise_levels(
    start: torch.Tensor, steps: int, spacing: str = "karras", last: float = SIGMA_LAST, table=None, rho: float = 7.0
) -> torch.Tensor:
    """Noise levels from each image's own start down to 0.

    Args:
        start: (B,) > 0, the noise of the observation.
        steps: number of levels above 0, >= 1.
        spacing: "karras" (Karras et al. 2206.00364, eq. 5), "log" (uniform in log sigma), "t" (uniform in the model's
            timestep; needs `table`, a SigmaTable).
        last: level of the final call; an image that starts lower ends at half its start.

    Returns:
        (B, steps + 1), strictly falling, first column `start`, last column 0.
    """
    if steps < 1:
        raise VpauditError(f"steps={steps}: a sampler needs at least one step", "give steps >= 1")
    start = start.double()
    low = torch.minimum(torch.full_like(start, last), start / 2)
    u = torch.linspace(0, 1, steps, dtype=torch.float64, device=start.device)[None]
    if spacing == "karras":
        high_root, low_root = start[:, None] ** (1 / rho), low[:, None] ** (1 / rho)
        levels = (high_root + u * (low_root - high_root)) ** rho
    elif spacing == "log":
        levels = (start.log()[:, None] + u * (low.log() - start.log())[:, None]).exp()
    elif spacing == "t" and table is not None:
        t_high, t_low = table.t_of_sigma(start)[:, None].double(), table.t_of_sigma(low)[:, None].double()
        levels = table.sigma_of_t((t_high + u * (t_low - t_high)).flatten()).view(len(start), steps).double()
    else:
        raise VpauditError(f"spacing={spacing!r}", "use karras, log, or t (with a prior that has timesteps)")
    levels[:, 0] = start
    return torch.cat([levels, torch.zeros_like(start)[:, None]], dim=1).float()


def _pairs(levels: torch.Tensor):
    return zip(levels[:, :-1].unbind(1), levels[:, 1:].unbind(1))


def _need(noise: Noise | None, amount: float, name: str) -> None:
    if amount > 0 and noise is None:
        raise VpauditError(f"{name}={amount} needs a source of noise", "pass noise=KeyedNoise(...)")


def ddim_steps(
    denoise: Denoise, x: torch.Tensor, levels: torch.Tensor, eta: float = 0.0, noise: Noise | None = None
) -> Iterator[torch.Tensor]:
    """Yield the state after each step; the last one is free of noise.

    Args:
        denoise: (x, sigma (B,)) -> E[x0 | x].
        x: (B, C, H, W) at noise levels[:, 0].
        levels: (B, n + 1), falling, as `noise_levels` gives them.
        eta: 0 deterministic to 1 ancestral.
        noise: gives fresh standard normal noise of x's shape; needed for eta > 0.
    """
    _need(noise, eta, "eta")
    for now, then in _pairs(levels):
        x0 = denoise(x, now)
        variance = eta**2 * then**2 * (1 - (then / now) ** 2)
        direction = (then**2 - variance).clamp_min(0).sqrt() / now
        x = x0 + per_image(direction) * (x - x0)
        if eta > 0 and bool((then > 0).any()):
            x = x + per_image(variance.sqrt()) * noise()
        yield x


def multistep_steps(
    denoise: Denoise,
    x: torch.Tensor,
    levels: torch.Tensor,
    eta: float = 0.0,
    noise: Noise | None = None,
    order: int = 2,
) -> Iterator[torch.Tensor]:
    """As `ddim_steps`, with a polynomial of degree order - 1 through the last calls; eta in [0, 1], order 1 to 4."""
    _need(noise, eta, "eta")
    power, calls = 1 + eta**2, []
    for now, then in _pairs(levels):
        calls = [(now.double().log(), denoise(x, now)), *calls[: order - 1]]
        ratio = (then / now).double()
        if bool((then <= 0).any()):
            x = per_image(ratio**power).float() * x + per_image(1 - ratio**power).float() * calls[0][1]
        else:
            weights = exponential_weights(torch.stack([log for log, _ in calls], 1), then.double().log(), power)
            x = per_image(ratio**power).float() * x
            x = x + sum(per_image(w).float() * x0 for w, (_, x0) in zip(weights.unbind(1), calls))
            if eta > 0:
                x = x + per_image(then * (1 - ratio ** (2 * eta**2)).clamp_min(0).sqrt().float()) * noise()
        yield x


def exponential_weights(log_sigmas: torch.Tensor, log_next: torch.Tensor, power: float = 1.0) -> torch.Tensor:
    """Weights w with sum_j w_j f(u_j) = integral of p e^(-p (h - u)) f(u) du over [0, h] for polynomials of degree < k.

    u = log sigma_now - log sigma. With the moments M_0 = 1 - e^(-p h), M_m = h^m - (m / p) M_(m-1), w solves
    sum_j w_j u_j^m = M_m.

    Args:
        log_sigmas: float64 (B, k), the current level first, then earlier (higher) ones.
        log_next: float64 (B,), below all of them; power: p >= 1.

    Returns:
        float64 (B, k).
    """
    nodes = log_sigmas[:, :1] - log_sigmas
    h = log_sigmas[:, 0] - log_next
    moments = [-torch.expm1(-power * h)]
    for m in range(1, log_sigmas.shape[1]):
        moments.append(h**m - m / power * moments[-1])
    powers = nodes[:, None, :] ** torch.arange(len(moments), device=h.device)[None, :, None]
    return torch.linalg.solve(powers, torch.stack(moments, dim=1))


def heun_steps(
    denoise: Denoise, x: torch.Tensor, levels: torch.Tensor, churn: float = 0.0, noise: Noise | None = None
) -> Iterator[torch.Tensor]:
    """Second order by a corrected Euler step, 2 n - 1 calls for n levels. churn: relative rise in noise, 0 to 0.41."""
    _need(noise, churn, "churn")
    for now, then in _pairs(levels):
        if churn > 0:
            raised = now * (1 + churn)
            x, now = x + per_image((raised**2 - now**2).sqrt()) * noise(), raised
        slope = (x - denoise(x, now)) / per_image(now)
        guess = x + per_image(then - now) * slope
        if bool((then > 0).all()):
            slope = (slope + (guess - denoise(guess, then)) / per_image(then)) / 2
        x = x + per_image(then - now) * slope
        yield x


def ddrm_steps(
    denoise: Denoise, x: torch.Tensor, levels: torch.Tensor, eta: float = 0.85, noise: Noise | None = None
) -> Iterator[torch.Tensor]:
    """Anchored to the measurement, which is x at levels[:, 0]; eta in [0, 1] is the share of fresh noise."""
    _need(noise, eta, "eta")
    y, s = x, levels[:, 0]
    for now, then in _pairs(levels):
        x0 = denoise(x, now)
        x = x0 + per_image((1 - eta**2) ** 0.5 * then / s) * (y - x0)
        if eta > 0 and bool((then > 0).any()):
            x = x + per_image(eta * then) * noise()
        yield x


def linear_steps(
    denoise: Denoise, x: torch.Tensor, levels: torch.Tensor, coefficients: torch.Tensor, gaussian
) -> Iterator[torch.Tensor]:
    """Fixed linear combinations of the start, every call so far, and what a Gaussian prior gives without a call.

    Args:
        levels: (B, n + 1).
        coefficients: (B, n, n + 6): row k makes the state at levels[:, k + 1] of `linear_terms`; the rest is 0.
        gaussian: `GaussianPrior` or `SpectralPrior`.
    """
    calls, state = [], x
    for k, now in enumerate(levels[:, :-1].unbind(1)):
        calls.append(denoise(state, now))
        terms = linear_terms(gaussian, x, state, levels, calls)
        state = sum(per_image(c) * term for c, term in zip(coefficients[:, k].unbind(1), terms))
        yield state


def linear_terms(gaussian, x: torch.Tensor, state: torch.Tensor, levels: torch.Tensor, calls: list) -> list:
    """What the next state is made of: a constant, the Gaussian prior's mean, its posterior mean at the present state,
    its own flow from the present state and from the start to the next level, the start x, and the calls.
    """
    first, now, then = levels[:, 0], levels[:, len(calls) - 1], levels[:, len(calls)]
    return [
        torch.ones_like(x),
        gaussian.mean.to(x.device).expand_as(x),
        gaussian.denoise(state, now),
        gaussian.transport(state, now, then),
        gaussian.transport(x, first, then),
        x,
        *calls,
    ]


def last(states: Iterator[torch.Tensor]) -> torch.Tensor:
    """The final state of a chain."""
    for state in states:  # noqa: B007
        pass
    return state


def check_range(sigma: torch.Tensor, prior: Denoiser) -> None:
    """Refuse noise above what the prior was trained on: it would answer, and wrongly. Noise below is let through, said.

    Below the range the prior answers as for its lowest level, a grey level or two from the observation.
    """
    if bool((sigma > prior.sigma_max).any()):
        raise VpauditError(
            f"the observation's noise s={float(sigma.max()):.4g} lies above the prior's range "
            f"[{prior.sigma_min:.3g}, {prior.sigma_max:.3g}]",
            "raise mu, or use a prior trained on stronger noise",
        )
    if bool((sigma < prior.sigma_min).any()):
        warnings.warn(
            f"the observation's noise s={float(sigma.min()):.4g} lies below the prior's range "
            f"[{prior.sigma_min:.3g}, {prior.sigma_max:.3g}]: the prior is asked there as it is, untrained",
            stacklevel=2,
        )
