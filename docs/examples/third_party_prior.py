"""A prior that is no diffusers folder: a DDPM of another repository (MIT, Brian Pulfer), as a `Denoiser`.

Its weights are a state dict for 28 x 28 images on [-1, 1]; it predicts epsilon at whole timesteps. What such a class
needs is an architecture whose names match the weights, and the way from sigma to its timestep and back.
"""

from pathlib import Path

import torch
from torch import nn

from vpaudit.priors.schedule import SigmaTable


def unit(channels: int, out: int, side: int) -> nn.Module:
    block = nn.Module()
    block.ln, block.conv1 = nn.LayerNorm((channels, side, side)), nn.Conv2d(channels, out, 3, padding=1)
    block.conv2 = nn.Conv2d(out, out, 3, padding=1)
    return block
