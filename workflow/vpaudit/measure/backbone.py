"""The networks of LPIPS as far as it looks at them: five stages of VGG16 or AlexNet, and the weight of each channel.

As the official package builds them (Zhang et al. 1801.03924, heads of version 0.1), from the same weights, but without
that package's import of torchvision, which takes seconds of every job.
"""

import torch
from torch import nn

from vpaudit.measure import lpips_weights

POOLING = {"vgg": (2, 2, (1, 2, 3, 4)), "alex": (3, 2, (1, 2))}  # size, stride, and the stages that begin with it
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of the colours that ImageNet's networks expect


class Backbone(nn.Module):
    """(B, 3, H, W) in [-1, 1] to the feature maps (B, C_l, H_l, W_l) of each stage.

    Args:
        net: "vgg" or "alex".

    Attributes:
        heads: five tensors (C_l,) >= 0, what a squared difference in each channel counts.

    Raises:
        BackboneMissing: no weights can be had.
    """

    def __init__(self, net: str):
        super().__init__()
        weights, (size, stride, pooled) = lpips_weights.state_dict(net), POOLING[net]
        self.stages = nn.ModuleList()
        for number, indices in enumerate(lpips_weights.BACKBONES[net][2]):
            layers = [nn.MaxPool2d(size, stride)] if number in pooled else []
            for index in indices:
                layers += [_convolution(weights[f"{index}.weight"], weights[f"{index}.bias"]), nn.ReLU(inplace=True)]
            self.stages.append(nn.Sequential(*layers))
        self.register_buffer("shift", torch.tensor(SHIFT).view(3, 1, 1))
        self.register_buffer("scale", torch.tensor(SCALE).view(3, 1, 1))
        for number, head in enumerate(lpips_weights.heads(net)):
            self.register_buffer(f"head{number}", head)

    @property
    def heads(self) -> list[torch.Tensor]:
        return [self.get_buffer(f"head{number}") for number in range(len(self.stages))]

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        maps = [(images - self.shift) / self.scale]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return maps[1:]


def _convolution(weight: torch.Tensor, bias: torch.Tensor) -> nn.Conv2d:
    """Of these weights, and of no others before: drawing them at random took a second."""
    out, channels, side, _ = weight.shape
    stride, padding = (4, 2) if side == 11 else (1, side // 2)  # AlexNet's first one strides
    layer = nn.Conv2d(channels, out, side, stride, padding, device="meta")
    layer.load_state_dict({"weight": weight, "bias": bias}, assign=True)
    return layer
