"""A prior that is no diffusers folder: the DDPM of github.com/BrianPulfer/PapersReimplementations (MIT).

A state dict for 28 x 28 grey images on [-1, 1]; it predicts epsilon at the whole timesteps of a linear schedule. What
such a class needs is its network, here straight from the names of the weights, and the way from sigma to its timestep.
"""

from pathlib import Path

import torch
from torch.nn import functional as F

from vpaudit.priors.schedule import SigmaTable


class ThirdPartyPrior:
    """See `vpaudit.base.denoiser.Denoiser`."""

    shape, num_classes = (1, 28, 28), 0

    def __init__(self, path: str | Path):
        state = torch.load(path, weights_only=True, map_location="cpu")
        self.weights = {name.removeprefix("network."): value for name, value in state.items()}
        self.table = SigmaTable(torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000), 0))
        self.sigma_min, self.sigma_max = self.table.sigma_min, self.table.sigma_max

    @torch.inference_mode()
    def denoise(self, x, sigma, labels=None):
        """E[x0 | x] for x = x0 + sigma z, asked at the timestep whose noise is nearest."""
        t = self.table.t_of_sigma(sigma).round()
        scaled = x / (1 + self.table.sigma_of_t(t) ** 2).sqrt().view(-1, 1, 1, 1)
        return x - sigma.view(-1, 1, 1, 1) * self.epsilon(scaled, t.long())

    def epsilon(self, x, t):
        """The bare network: x (B, 1, 28, 28) = sqrt(abar_t) x0 + sqrt(1 - abar_t) z, t int64 (B,)."""
        at = self.weights["time_embed.weight"][t]
        one = self.block("b1", x, at, "te1")
        two = self.block("b2", self.conv("down1", one, 2, 1), at, "te2")
        three = self.block("b3", self.conv("down2", two, 2, 1), at, "te3")
        low = self.conv("down3.2", F.silu(self.conv("down3.0", three)), 2, 1)
        low = self.block("b_mid", low, at, "te_mid")
        high = self.up("up1.2", F.silu(self.up("up1.0", low)), 1, 0)
        high = self.up("up2", self.block("b4", torch.cat([three, high], 1), at, "te4"))
        high = self.up("up3", self.block("b5", torch.cat([two, high], 1), at, "te5"))
        high = self.block("b_out", torch.cat([one, high], 1), at, "te_out", last_normalized=False)
        return self.conv("conv_out", high, 1, 1)

    def block(self, name, x, at, time, last_normalized=True):
        """Three units of LayerNorm, convolution, SiLU, convolution, SiLU, after the time's vector is added."""
        w = self.weights
        vector = F.silu(F.linear(at, w[f"{time}.0.weight"], w[f"{time}.0.bias"]))
        x = x + F.linear(vector, w[f"{time}.2.weight"], w[f"{time}.2.bias"])[:, :, None, None]
        for k in range(3):
            if k < 2 or last_normalized:
                x = F.layer_norm(x, x.shape[1:], w[f"{name}.{k}.ln.weight"], w[f"{name}.{k}.ln.bias"])
            x = F.silu(self.conv(f"{name}.{k}.conv1", x, 1, 1))
            x = F.silu(self.conv(f"{name}.{k}.conv2", x, 1, 1))
        return x

    def conv(self, name, x, stride=1, padding=0):
        return F.conv2d(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], stride, padding)

    def up(self, name, x, stride=2, padding=1):
        return F.conv_transpose2d(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], stride, padding)
