"""Samplers: from x = x0 + sigma z down an explicit list of noise levels. They know no data set and no file.

All work in sigma (variance-exploding coordinates), with one list an image, because s = |x| / mu differs by image.
A step from sigma to sigma' with the posterior mean D = E[x0 | x] is (Song et al. 2010.02502, eq. 12, divided by
sqrt(abar')):

    x' = D + sqrt(sigma'^2 - v) (x - D) / sigma + sqrt(v) z,    v = eta^2 sigma'^2 (1 - sigma'^2 / sigma^2)

eta = 0 is DDIM, eta = 1 is DDPM's ancestral step with the posterior ("fixed_small") variance (Ho et al. 2006.11239).
"""

from collections.abc import Callable, Iterator

import torch

from vpaudit.errors import VpauditError
from vpaudit.priors.base import Denoiser, per_image

SIGMA_LAST = 0.02  # the last noise level before 0: two and a half of 255 grey levels


def noise_levels(
    start: torch.Tensor, steps: int, spacing: str = "karras", last: float = SIGMA_LAST, table=None, rho: float = 7.0
) -> torch.Tensor:
    """Noise levels from each image's own start down to 0.

    Args:
        start: (B,) > 0, the noise of the observation.
        steps: number of denoiser calls, >= 1.
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
    u = torch.linspace(0, 1, steps, dtype=torch.float64)[None]
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


def ddim_steps(
    denoise: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    x: torch.Tensor,
    levels: torch.Tensor,
    eta: float = 0.0,
    noise: Callable[[], torch.Tensor] | None = None,
) -> Iterator[torch.Tensor]:
    """Yield the state after each step; the last one is free of noise.

    Args:
        denoise: (x, sigma (B,)) -> E[x0 | x].
        x: (B, C, H, W) at noise levels[:, 0].
        levels: (B, n + 1), falling, as `noise_levels` gives them; a column of zeros ends the chain.
        eta: 0 deterministic to 1 ancestral.
        noise: gives fresh standard normal noise of x's shape; needed for eta > 0.
    """
    if eta > 0 and noise is None:
        raise VpauditError(f"eta={eta} needs a source of noise", "pass noise=KeyedNoise(...)")
    for now, then in zip(levels[:, :-1].unbind(1), levels[:, 1:].unbind(1)):
        x0 = denoise(x, now)
        variance = eta**2 * then**2 * (1 - (then / now) ** 2)
        direction = (then**2 - variance).clamp_min(0).sqrt() / now
        x = x0 + per_image(direction) * (x - x0)
        if eta > 0 and bool((then > 0).any()):
            x = x + per_image(variance.sqrt()) * noise()
        yield x


def ddim(denoise, x, levels, eta=0.0, noise=None) -> torch.Tensor:
    """The end of `ddim_steps`."""
    for x in ddim_steps(denoise, x, levels, eta, noise):  # noqa: B007, B020
        pass
    return x


def check_range(sigma: torch.Tensor, prior: Denoiser) -> None:
    """Refuse noise above what the prior was trained on: it would answer, and wrongly."""
    if bool((sigma > prior.sigma_max).any()):
        raise VpauditError(
            f"the observation's noise s={float(sigma.max()):.4g} lies above the prior's range "
            f"[{prior.sigma_min:.3g}, {prior.sigma_max:.3g}]",
            "raise mu, or use a prior trained on stronger noise",
        )
