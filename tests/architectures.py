"""The public priors' networks with random weights, in full or narrowed, as diffusers folders.

Layouts as the repositories' config.json state them (google/ddpm-cifar10-32, google/ddpm-ema-celebahq-256) and, for ADM,
as openai/guided-diffusion's README does: width 256, attention at 32, 16 and 8, learned variance, six output channels.
"""

from pathlib import Path

import diffusers
import torch

PLAIN = {"downsample_padding": 0, "flip_sin_to_cos": False, "freq_shift": 1, "norm_eps": 1e-6, "layers_per_block": 2}
LAYOUTS = {
    "cifar10": {
        **PLAIN, "sample_size": 32, "out_channels": 3, "block_out_channels": (128, 256, 256, 256),
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"), "attention_head_dim": None,
    },
    "celebahq": {
        **PLAIN, "sample_size": 256, "out_channels": 3, "block_out_channels": (128, 128, 256, 256, 512, 512),
        "down_block_types": ("DownBlock2D",) * 4 + ("AttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "AttnUpBlock2D") + ("UpBlock2D",) * 4, "attention_head_dim": None,
    },
    "imagenet": {
        "sample_size": 256, "out_channels": 6, "block_out_channels": (256, 256, 512, 512, 1024, 1024),
        "layers_per_block": 2, "attention_head_dim": 64, "resnet_time_scale_shift": "scale_shift",
        "downsample_type": "resnet", "upsample_type": "resnet",
        "down_block_types": ("ResnetDownsampleBlock2D",) * 3 + ("AttnDownBlock2D",) * 3,
        "up_block_types": ("AttnUpBlock2D",) * 3 + ("ResnetUpsampleBlock2D",) * 3,
    },
}  # fmt: skip


def network(name: str, narrower: int = 1) -> diffusers.UNet2DModel:
    """The network, its widths divided by `narrower`, with random weights of a fixed seed."""
    layout = dict(LAYOUTS[name])
    layout["block_out_channels"] = tuple(width // narrower for width in layout["block_out_channels"])
    if narrower > 1:
        layout |= {"norm_num_groups": 8}
        layout["attention_head_dim"] = layout["attention_head_dim"] and 8
    torch.manual_seed(0)
    return diffusers.UNet2DModel(**layout)


def save(name: str, folder: Path, narrower: int = 1) -> Path:
    """A prior's folder as diffusers saves it, without a card."""
    network(name, narrower).save_pretrained(folder / "unet")
    diffusers.DDPMScheduler(beta_schedule="linear", num_train_timesteps=1000).save_pretrained(folder / "scheduler")
    return folder
