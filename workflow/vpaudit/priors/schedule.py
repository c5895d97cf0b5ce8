"""The border between sigma and a model's timestep.

A DDPM state is x_t = sqrt(abar_t) x0 + sqrt(1 - abar_t) z = sqrt(abar_t) (x0 + sigma_t z) with
sigma_t = sqrt((1 - abar_t) / abar_t) (design section 3). Everything outside works in sigma; only a prior knows t.
"""

import numpy as np
import torch

from vpaudit.base.errors import VpauditError


class SigmaTable:
    """sigma <-> t for a diffusers scheduler's `alphas_cumprod`, t continuous by linear interpolation in log sigma.

    Steps at the end where no signal is left (zero terminal SNR) have no sigma, and are cut off.
    """

    def __init__(self, alphas_cumprod: torch.Tensor):
        abar = alphas_cumprod.double()
        while len(abar) and abar[-1] == 0:
            abar = abar[:-1]
        self.log_sigmas = (0.5 * ((1 - abar) / abar).log()).numpy()
        if len(abar) < 2 or not (np.isfinite(self.log_sigmas).all() and (np.diff(self.log_sigmas) > 0).all()):
            raise VpauditError(
                "the prior's noise does not grow with every timestep (betas that are 0 or not in (0, 1))",
                "correct trained_betas, beta_start or beta_end in scheduler_config.json",
            )

    @property
    def sigma_min(self) -> float:
        return float(np.exp(self.log_sigmas[0]))

    @property
    def sigma_max(self) -> float:
        return float(np.exp(self.log_sigmas[-1]))

    def t_of_sigma(self, sigma: torch.Tensor) -> torch.Tensor:
        """(B,) sigma to (B,) float32 timesteps in [0, T - 1], clamped at both ends; where sigma lies, with gradient."""
        left, share = place(self.log_sigmas, sigma)
        return (left + share).clamp(0, len(self.log_sigmas) - 1).float()

    def sigma_of_t(self, t: torch.Tensor) -> torch.Tensor:
        """(B,) timesteps, whole or between, to (B,) sigma."""
        log_sigma = np.interp(t.double().cpu().numpy(), np.arange(len(self.log_sigmas)), self.log_sigmas)
        return torch.from_numpy(np.exp(log_sigma)).float().to(t.device)


def noise_range(card: dict, alphas_cumprod: torch.Tensor) -> tuple[float, float]:
    """What noise a prior may be asked at: as its card says it was trained, else all of its schedule.

    If `trust` ends in 0, held-out images bear out no correction at the strongest noise: from there on the prior is the
    Gaussian that it corrects, which knows every noise.
    """
    table = SigmaTable(alphas_cumprod)
    low, high = card.get("sigma_range", (table.sigma_min, table.sigma_max))
    return low, float("inf") if "trust" in card and card["trust"][1][-1] == 0 else high


def place(log_sigmas: np.ndarray, sigma: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The entry (B,) of a rising table below each sigma, and how far it is to the next one; < 0 or > 1 outside."""
    table = torch.from_numpy(log_sigmas).to(sigma.device)
    log_sigma = sigma.double().log()
    left = (torch.searchsorted(table, log_sigma.detach(), right=True) - 1).clamp(0, len(table) - 2)
    return left, (log_sigma - table[left]) / (table[left + 1] - table[left])


class Trust:
    """How much of a network's correction of its Gaussian prior is taken at each noise, measured on held-out images.

    Args:
        sigmas: rising, at least two; shares: in [0, 1], of each; between them linear in log sigma, outside the nearest.
    """

    def __init__(self, sigmas, shares):
        self.log_sigmas, self.shares = np.log(np.asarray(sigmas, float)), torch.tensor(shares, dtype=torch.float64)

    def at(self, sigma: torch.Tensor) -> torch.Tensor:
        """(B,) float32."""
        left, share = place(self.log_sigmas, sigma)
        shares = self.shares.to(sigma.device)
        return torch.lerp(shares[left], shares[left + 1], share.clamp(0, 1)).float()
