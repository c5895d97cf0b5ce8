"""Training of a diffusion prior, resumable to the bit of its own random draws.

Loss: |v - v_theta|^2 with v = a z - b x0 = (a^2 x - x0) / b (Salimans & Ho 2202.00512), sigma drawn where the attack
needs it: a share log-normal around sigma = 1 (`log_normal_share`), the rest uniform in log sigma over `sigma_range`.
With `residual`, v = (W(x) - x0) / b: the network starts as the Gaussian prior of the training images and learns what
is left over it (see `network`); where hours are few, none go into a covariance that is known in closed form. Matrices
inside transformer blocks are optimised by Muon (torch.optim), everything else by AdamW; warm-up, then cosine to 2 %
over the images to be seen or over the time given; average of the weights over about the last tenth of the steps, at
most as long as `ema_decay` says.
"""

import copy
import json
import math
import os
import sys
import time
from pathlib import Path

import diffusers
import torch
from diffusers.models.attention_processor import AttnProcessor
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from vpaudit.base import files
from vpaudit.base.denoiser import AnySize, Shape
from vpaudit.base.errors import VpauditError
from vpaudit.base.pixels import per_image
from vpaudit.base.randomness import generator, seed_of
from vpaudit.priors.batches import Labelled, Scales
from vpaudit.priors.network import NetworkPrior
from vpaudit.study.config import Training

LOOK = 50  # steps on a GPU between looks at the loss
FREE = ("checkpoint_seconds", "compile", "minutes", "precision")  # what may differ when a run goes on
WIDEST = 3  # times the first level's channels, in a U-Net's lower levels
BAR = "{desc} {percentage:3.0f}%|{bar}| {postfix}"


def build_network(shape: Shape, num_classes: int, settings: Training):
    """The network of `settings.architecture`; its last layer is 0, so that training starts from f = 0."""
    if isinstance(shape, AnySize) and settings.architecture != "unet":
        raise VpauditError("a transformer has one size, the images have any", "set architecture: unet")
    return {"transformer": _transformer, "unet": _unet}[settings.architecture](shape, num_classes, settings).eval()


def _unet(shape, num_classes, settings):
    """A small U-Net on images folded by `patch_size`; attention at its lowest level where the size is fixed."""
    any_size = isinstance(shape, AnySize)
    channels, side = (shape.channels, 64) if any_size else shape[:2]
    network = diffusers.UNet2DModel(
        sample_size=side // settings.patch_size,
        in_channels=channels * settings.patch_size**2,
        out_channels=channels * settings.patch_size**2,
        block_out_channels=[settings.width * min(2**level, WIDEST) for level in range(settings.levels)],
        layers_per_block=settings.layers,
        down_block_types=["DownBlock2D"] * settings.levels,
        up_block_types=["UpBlock2D"] * settings.levels,
        norm_num_groups=8,
        attention_head_dim=32,
        add_attention=not any_size,
        dropout=settings.dropout,
        num_class_embeds=num_classes + 1 if num_classes else None,  # the last one is "not told"
    )
    torch.nn.init.zeros_(network.conv_out.weight)
    torch.nn.init.zeros_(network.conv_out.bias)
    return network.to(memory_format=torch.channels_last)


def _transformer(shape, num_classes, settings):
    """A DiT (Peebles & Xie 2212.09748) with adaLN-zero initialisation: every block starts as the identity."""
    network = diffusers.DiTTransformer2DModel(
        num_attention_heads=settings.heads,
        attention_head_dim=settings.width // settings.heads,
        in_channels=shape[0],
        out_channels=shape[0],
        num_layers=settings.layers,
        sample_size=shape[1],
        patch_size=settings.patch_size,
        num_embeds_ada_norm=num_classes,
    )
    for block in network.transformer_blocks:
        torch.nn.init.zeros_(block.norm1.linear.weight)
        torch.nn.init.zeros_(block.norm1.linear.bias)
        torch.nn.init.normal_(block.norm1.emb.class_embedder.embedding_table.weight, std=0.02)
        # plain matrix products: on a CPU the fused kernel's backward pass is slower for so few tokens
        block.attn1.set_processor(AttnProcessor())
    for layer in (network.proj_out_1, network.proj_out_2):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    return network  # in eval mode its own label dropout, which would differ from block to block, stays off


def build_scheduler() -> diffusers.DDPMScheduler:
    """Linear beta 1e-4 to 0.02 over 1000 steps: sigma from 0.010 to 157."""
    return diffusers.DDPMScheduler(
        num_train_timesteps=1000, beta_schedule="linear", prediction_type="v_prediction", clip_sample=False
    )


def draw_sigmas(count: int, settings: Training, rng: torch.Generator) -> torch.Tensor:
    """(count,) noise levels, stratified, so that every batch covers the whole range."""
    low, high = (math.log(s) for s in settings.sigma_range)
    uniform = (torch.arange(count) + torch.rand(count, generator=rng)) / count
    normals = round(count * settings.log_normal_share)
    quantiles = (torch.arange(normals) + torch.rand(normals, generator=rng)) / normals
    log_sigma = low + (high - low) * uniform
    bell = torch.special.ndtri(quantiles.clamp(1e-4, 1 - 1e-4)) * settings.log_normal_std
    log_sigma[torch.randperm(count, generator=rng)[:normals]] = bell.clamp(low, high)
    return log_sigma.exp()


def make_optimizers(network, settings: Training) -> list[torch.optim.Optimizer]:
    """Muon for the blocks' attention and feed-forward matrices, AdamW for the rest (or for everything)."""
    inner = []
    if settings.optimizer == "muon":
        named = network.named_parameters()
        inner = [p for n, p in named if p.ndim == 2 and (".attn1." in n or ".ff." in n)]
    ids = {id(p) for p in inner}
    rest = [p for p in network.parameters() if id(p) not in ids]
    optimizers = [torch.optim.AdamW(rest, lr=settings.lr, betas=(0.9, 0.99), weight_decay=settings.weight_decay)]
    if inner:
        kwargs = {"weight_decay": settings.weight_decay, "adjust_lr_fn": "match_rms_adamw"}
        optimizers.append(torch.optim.Muon(inner, lr=settings.lr, momentum=0.95, **kwargs))
    return optimizers


def learning_rate(step: int, progress: float, settings: Training) -> float:
    """Linear warm-up, then cosine to 2 % of the peak when `progress` reaches 1."""
    warm = min(1.0, (step + 1) / max(1, settings.warmup_steps))
    return settings.lr * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


class Trainer:
    """One training run.

    Args:
        source: where its images come from, on the device it is trained on.
        settings: what is trained and for how long.
        work: folder of checkpoints.
    """

    def __init__(self, source: Labelled | Scales, settings: Training, work: str | Path, device: str = "cpu"):
        self.device, self.source, self.settings, self.work = torch.device(device), source, settings, Path(work)
        torch.manual_seed(seed_of(settings.seed, "init"))
        self.network = build_network(source.shape, source.num_classes, settings).to(device)
        base = source.gaussian().to(device) if settings.residual else None
        fold = settings.patch_size if settings.architecture == "unet" else 1
        self.prior = NetworkPrior(self.network, build_scheduler(), precision=settings.precision, fold=fold, base=base)
        self.network.requires_grad_(True)
        if settings.architecture == "unet":  # a transformer's own label dropout would be switched on with it
            self.network.train()
        self.ema = AveragedModel(self.network, multi_avg_fn=self._average)
        self.optimizers = make_optimizers(self.network, settings)
        self.step, self.seconds, self.history = 0, 0.0, []
        self.forward = torch.compile(self.prior.__call__) if settings.compile else self.prior.__call__

    @torch.no_grad()
    def _average(self, averages: list[torch.Tensor], weights: list[torch.Tensor], _) -> None:
        """A moving average that forgets the initial weights: over a tenth of the steps so far, up to `ema_decay`."""
        decay = min(self.settings.ema_decay, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(averages, weights, 1 - decay)

    @property
    def progress(self) -> float:
        """The share of the run that is done, by time where `minutes` are given, else by images."""
        minutes = self.settings.minutes
        return self.step / self.settings.steps if minutes is None else self.seconds / (60 * minutes)

    def loss(self) -> torch.Tensor:
        settings, rng, device = self.settings, generator(self.settings.seed, "step", self.step), self.device
        x0, labels = self.source.batch(self.step, settings.batch_size, settings.seed)
        untold = (torch.rand(len(labels), generator=rng) < settings.label_dropout).to(device)
        labels = labels.masked_fill(untold, self.source.num_classes)
        sigma = draw_sigmas(len(x0), settings, rng).to(device)
        z = self.noise(x0.shape, rng)
        if settings.horizontal_flip:
            turned = (torch.rand(len(x0), generator=rng) < 0.5).to(device)
            x0 = torch.where(per_image(turned), x0.flip(-1), x0)
        a = per_image((1 + sigma**2).rsqrt())
        b = a * per_image(sigma)
        x = x0 + per_image(sigma) * z
        told = labels if self.source.num_classes else None
        output = self.forward(a * x, self.prior.table.t_of_sigma(sigma), told)
        return torch.nn.functional.mse_loss(output, (self.prior.anchor(x, sigma) - x0) / b)

    def noise(self, shape, rng: torch.Generator) -> torch.Tensor:
        """Standard normal, from `rng` on a CPU; on a GPU, where a CPU could not keep up, from one of the step's own."""
        if self.device.type == "cpu":
            return torch.randn(shape, generator=rng)
        own = torch.Generator(self.device).manual_seed(seed_of(self.settings.seed, "noise", self.step))
        return torch.randn(shape, generator=own, device=self.device)

    def train_step(self) -> torch.Tensor:
        loss = self.loss()
        # a GPU is not waited for at every step: a loss that is not finite is found before the next checkpoint
        if (self.device.type == "cpu" or self.step % LOOK == 0) and not torch.isfinite(loss):
            raise self._diverged(loss)
        rate = learning_rate(self.step, self.progress, self.settings)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        self.ema.update_parameters(self.network)
        self.step += 1
        return loss.detach()

    def average(self):
        """A copy of the network with averaged weights, for use."""
        return copy.deepcopy(self.ema.module).eval().requires_grad_(False)

    @property
    def checkpoint(self) -> Path:
        return self.work / "checkpoint.pt"

    def save(self) -> None:
        state = {
            "settings": self.settings.model_dump(mode="json"),
            "step": self.step,
            "seconds": self.seconds,
            "history": self.history,
            "network": self.network.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }
        with files.atomic(self.checkpoint) as temporary:
            torch.save(state, temporary)

    def resume(self, adopt: bool = False) -> bool:
        """Load the checkpoint; one made with other settings is refused, or (adopt) taken over and noted in the card."""
        if not self.checkpoint.exists():
            return False
        state = torch.load(self.checkpoint, weights_only=True, map_location=self.device)
        ours, theirs = self.settings.model_dump(mode="json"), json.loads(json.dumps(state["settings"]))
        changed = sorted(k for k in ours if k not in FREE and ours[k] != theirs.get(k))
        if changed and not adopt:
            raise VpauditError(
                f"{self.checkpoint} belongs to a run with other settings ({', '.join(changed)})",
                "delete the folder to start anew, restore the settings, or go on with `vpaudit stage prior --adopt`",
            )
        self.network.load_state_dict(state["network"])
        self.ema.load_state_dict(state["ema"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"]):
            optimizer.load_state_dict(saved)
        self.step, self.seconds, self.history = state["step"], state["seconds"], state.get("history", [])
        if changed:
            self.history.append({"step": self.step, **{k: {"from": theirs.get(k), "to": ours[k]} for k in changed}})
        return True

    def begin(self, network) -> None:
        """Start from the weights of a network of the same settings, instead of random ones."""
        for ours in (self.network, self.ema.module):
            ours.load_state_dict(network.state_dict())

    def run(self, until: int | None = None) -> None:
        """Train to the end (or to step `until`), with a checkpoint every `checkpoint_seconds` and at the end."""
        self.work.mkdir(parents=True, exist_ok=True)
        begun = saved = time.monotonic()
        average, first = None, (self.step, self.seconds)
        with tqdm(total=100, desc="training", bar_format=BAR, disable=None, ascii=True, ncols=79) as bar:
            while self.progress < 1 and self.step != until:
                loss = self.train_step()
                average = loss if average is None else 0.98 * average + 0.02 * loss
                now = time.monotonic()
                self.seconds, begun = self.seconds + now - begun, now
                if self.device.type == "cpu" or self.step % LOOK == 0:
                    bar.set_postfix_str(f"loss {float(average):.4f}, {self.eta(*first)}")
                    bar.update(100 * min(1.0, self.progress) - bar.n)
                if now - saved > self.settings.checkpoint_seconds:
                    self._keep(average, self.eta(*first))
                    saved = now
        if average is not None:
            self._keep(average, "done" if self.progress >= 1 else "stopped")

    def eta(self, step: int = 0, seconds: float = 0.0) -> str:
        """What is left, at the speed since `step`, where the run had taken `seconds`."""
        if self.settings.minutes is not None:
            left = 60 * self.settings.minutes - self.seconds
        else:
            left = (self.settings.steps - self.step) * (self.seconds - seconds) / max(1, self.step - step)
        return f"{left / 60:.1f} min left" if left >= 60 else f"{max(0.0, left):.0f} s left"

    def _keep(self, average: torch.Tensor, left: str) -> None:
        """Write a checkpoint, and a line of the log."""
        if not torch.isfinite(average):
            raise self._diverged(average)
        self.save()
        row = {"step": self.step, "images_seen": self.images_seen, "seconds": round(self.seconds, 1)}
        with open(self.work / "log.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps({**row, "loss": round(float(average), 5)}) + os.linesep)
        if not sys.stderr.isatty():
            rate = self.images_seen / max(self.seconds, 1e-9)
            print(f"step {self.step}, {rate:.0f} images/s, loss {float(average):.4f}, {left}", flush=True)

    @property
    def images_seen(self) -> int:
        return self.step * self.settings.batch_size

    def _diverged(self, loss) -> VpauditError:
        return VpauditError(
            f"training diverged at step {self.step}: loss {float(loss)}",
            "lower prior.lr; the last checkpoint is kept",
        )
