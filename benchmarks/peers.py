"""Other libraries' ways to recover x from x + s z with our prior, each behind one call: (y, s, calls) -> images.

y is x + s z on [-1, 1], one s for the whole batch, because none of them takes a noise an image. deepinv works on
[0, 1], where the noise is s / 2. Each is used as its documentation shows, with our network as the denoiser.
"""

from dataclasses import dataclass, field

import deepinv
import diffusers
import numpy as np
import torch
from diffusers_dmse import DMSEScheduler

from vpaudit.attack import reconstruct
from vpaudit.base.pixels import per_image
from vpaudit.priors.network import NetworkPrior
from vpaudit.privacy.mechanism import Observation
from vpaudit.study.config import Attack


@dataclass
class Counted:
    """The prior's denoiser, counting network calls an image, differentiable where asked."""

    prior: NetworkPrior
    calls: int = field(default=0)

    def __call__(self, x: torch.Tensor, s: float | torch.Tensor, grad: bool = False) -> torch.Tensor:
        self.calls += 1
        sigma = torch.as_tensor(s, dtype=torch.float32).flatten().expand(len(x))
        if not grad:
            return self.prior.denoise(x, sigma)
        a = per_image((1 + sigma**2).rsqrt())
        output = self.prior(a * x, self.prior.table.t_of_sigma(sigma), None)
        return self.prior.anchor(x, sigma) - a * per_image(sigma) * output  # v-prediction, as in NetworkPrior


class UnitRange(deepinv.models.Denoiser):
    """The same on [0, 1], as deepinv wants it."""

    def __init__(self, counted: Counted, grad: bool):
        super().__init__()
        self.counted, self.grad = counted, grad

    def forward(self, x, sigma, *args, **kwargs):
        """Denoised image on [0, 1]; sigma on [0, 1], a number or one an image."""
        sigma = torch.as_tensor(sigma, dtype=torch.float32)
        return (self.counted(2 * x.float() - 1, 2 * sigma, self.grad) + 1) / 2


def _timesteps(scheduler, s: float, calls: int) -> list[int]:
    """`calls` whole timesteps from the one whose noise is nearest s down to 0, evenly spaced, as by hand."""
    abar = scheduler.alphas_cumprod.double()
    start = int((((1 - abar) / abar).sqrt() - s).abs().argmin())
    return torch.linspace(start, 0, calls + 1).round().long()[:-1].unique().flip(0).tolist()


def _diffusers(kind: str, counted: Counted, y, s, calls, generator):
    """A diffusers scheduler stepped by hand over explicit timesteps from the matched one."""
    common = {"prediction_type": "sample", "clip_sample": False}
    ddpm = diffusers.DDPMScheduler(variance_type="fixed_small", **common)
    steps = _timesteps(ddpm, s, calls)
    if kind == "ddpm":
        ddpm.set_timesteps(timesteps=steps)
        scheduler = ddpm
    elif kind == "dmse":
        scheduler = DMSEScheduler(**common)
        scheduler.set_timesteps(timesteps=steps)
        _, first = scheduler.init_step(snr=1 / s**2, is_logarithmic=False)
        steps = [int(t) for t in scheduler.timesteps[first:]]
    else:
        # DDIMScheduler takes equal steps of 1000 // n only: the smallest n that leaves at least `calls` below t*
        scheduler = diffusers.DDIMScheduler(**common)
        scheduler.set_timesteps(min(1000, max(1, round(1000 * calls / (steps[0] + 1)))))
        steps = [int(t) for t in scheduler.timesteps if t <= steps[0]] or [int(scheduler.timesteps[-1])]
    abar = scheduler.alphas_cumprod
    x = y * abar[steps[0]].sqrt()
    extra = {"generator": generator} if kind == "ddpm" else {}
    for t in steps:
        a, sigma = abar[t].sqrt(), ((1 - abar[t]) / abar[t]).sqrt()
        x = scheduler.step(counted(x / a, sigma), t, x, **extra).prev_sample
    return x


def _deepinv(kind: str, counted: Counted, y, s, calls, generator):
    physics = deepinv.physics.Denoising(deepinv.physics.GaussianNoise(s / 2))
    unit = (y + 1) / 2
    if kind == "ddrm":
        sigmas = np.geomspace(s / 2, 0.01, calls)  # from the measurement's own noise; its default stops at 1
        model = deepinv.sampling.DDRM(UnitRange(counted, False), sigmas=sigmas)
    elif kind == "diffpir":
        fidelity = deepinv.optim.data_fidelity.L2()
        model = deepinv.sampling.DiffPIR(UnitRange(counted, False), fidelity, sigma=s / 2, max_iter=calls)
    else:
        model = deepinv.sampling.DPS(UnitRange(counted, True), num_steps=calls + 1)
    return 2 * model(unit, physics, seed=1).float() - 1


def _ours(options: dict, counted: Counted, y, s, calls, generator):
    ones = torch.ones(len(y), dtype=torch.float64)
    ids = torch.arange(len(y))
    seen = Observation(y, ones, ones * s, ids, ids, "benchmark", 1.0 / s)
    settings = Attack(name="ours", steps=calls, **options)
    before = counted.prior.calls
    images = reconstruct.reconstruct(seen, counted.prior, settings, seed=0)
    counted.calls += (counted.prior.calls - before) // len(y)
    return images


PEERS = {
    "diffusers DDIM": (_diffusers, "ddim"),
    "diffusers DDPM": (_diffusers, "ddpm"),
    "diffusers-dmse": (_diffusers, "dmse"),
    "deepinv DDRM": (_deepinv, "ddrm"),
    "deepinv DiffPIR": (_deepinv, "diffpir"),
    "deepinv DPS": (_deepinv, "dps"),
}
OURS = {
    "posterior mean": {"kind": "posterior_mean"},
    "DDIM": {"kind": "ddim", "spacing": "t"},
    "multistep 2": {"kind": "multistep", "order": 2},
    "second-order SDE": {"kind": "multistep", "order": 2, "eta": 1.0},
    "fitted few-step": {"kind": "few_step"},
}


def run(name: str, prior: NetworkPrior, y: torch.Tensor, s: float, calls: int) -> tuple[torch.Tensor, int]:
    """Images on [-1, 1], clipped, and the network calls an image that were really made.

    Args:
        name: of `PEERS` or `OURS`; y: (B, C, H, W) = x + s z; calls: asked for.
    """
    counted, generator = Counted(prior), torch.Generator().manual_seed(0)
    function, options = (_ours, OURS[name]) if name in OURS else PEERS[name]
    with torch.no_grad():
        images = function(options, counted, y, s, calls, generator)
    return images.clamp(-1, 1), counted.calls
