"""Training of a class-conditional diffusion prior on small images, resumable to the bit of its own random draws.

Loss: |v - v_theta|^2 with v = a z - b x0 = (a^2 x - x0) / b (Salimans & Ho 2202.00512), sigma drawn where the attack
needs it: a share log-normal around sigma = 1 (`log_normal_share`), the rest uniform in log sigma over `sigma_range`.
With `residual`, v = (W(x) - x0) / b: the network starts as the Gaussian prior of the training images and learns what
is left over it (see `network`); where hours are few, none go into a covariance that is known in closed form. Matrices
inside transformer blocks are optimised by Muon (torch.optim), everything else by AdamW; warm-up, then cosine to 2 %;
EMA of the weights.
"""

import copy
import json
import math
import os
import time
from pathlib import Path

import diffusers
import torch
from diffusers.models.attention_processor import AttnProcessor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from vpaudit.base import files
from vpaudit.base.errors import VpauditError
from vpaudit.base.pixels import per_image
from vpaudit.base.randomness import generator, seed_of
from vpaudit.priors.gaussian import GaussianPrior
from vpaudit.priors.network import NetworkPrior
from vpaudit.study.config import Training

LOOK = 50  # steps on a GPU between looks at the loss


def build_network(shape: tuple[int, int, int], num_classes: int, settings: Training):
    """The network of `settings.architecture`; its last layer is 0, so that training starts from f = 0."""
    return {"transformer": _transformer, "unet": _unet}[settings.architecture](shape, num_classes, settings).eval()


def _unet(shape, num_classes, settings):
    """A small U-Net on images folded by `patch_size`, attention at its lowest level."""
    network = diffusers.UNet2DModel(
        sample_size=shape[1] // settings.patch_size,
        in_channels=shape[0] * settings.patch_size**2,
        out_channels=shape[0] * settings.patch_size**2,
        block_out_channels=[settings.width * 2**level for level in range(settings.levels)],
        layers_per_block=settings.layers,
        down_block_types=["DownBlock2D"] * settings.levels,
        up_block_types=["UpBlock2D"] * settings.levels,
        norm_num_groups=8,
        attention_head_dim=32,
        num_class_embeds=num_classes + 1,  # the last one is "not told"
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


def learning_rate(step: int, settings: Training) -> float:
    """Linear warm-up, then cosine to 2 % of the peak."""
    if step < settings.warmup_steps:
        return settings.lr * (step + 1) / settings.warmup_steps
    progress = (step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
    return settings.lr * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


class Trainer:
    """One training run.

    Args:
        images: float32 (N, C, H, W) in [-1, 1]; labels: int64 (N,); work: folder of checkpoints.
        sharp: float32 (M, C, H, W), free of what compression or the like did to `images`: they stand in for these at
            low noise, where it shows (`Training.sharp_sigma`), without their labels' meaning anything; or None.
        device: where it is trained.
    """

    def __init__(self, images, labels, num_classes: int, settings: Training, work: Path, sharp=None, device="cpu"):
        self.device = torch.device(device)
        self.images, self.labels, self.num_classes = images.to(device), labels.to(device), num_classes
        self.sharp = None if sharp is None else sharp.to(device)
        self.settings, self.work = settings, Path(work)
        torch.manual_seed(seed_of(settings.seed, "init"))
        self.network = build_network(tuple(images.shape[1:]), num_classes, settings).to(device)
        self.initial = copy.deepcopy(self.network.state_dict())
        known = images if sharp is None else torch.cat([images, sharp])
        base = GaussianPrior.fit(known.to(device)).halved() if settings.residual else None
        fold = settings.patch_size if settings.architecture == "unet" else 1
        self.prior = NetworkPrior(self.network, build_scheduler(), precision=settings.precision, fold=fold, base=base)
        self.network.requires_grad_(True)
        self.ema = AveragedModel(self.network, multi_avg_fn=get_ema_multi_avg_fn(settings.ema_decay))
        self.optimizers = make_optimizers(self.network, settings)
        self.step, self.seconds, self.history, self.order_epoch = 0, 0.0, [], -1
        self.forward = torch.compile(self.prior.__call__) if settings.compile else self.prior.__call__

    def batch(self) -> torch.Tensor:
        """Indices of this step's images: each epoch is a fresh permutation, a function of (seed, step) alone."""
        size, total = self.settings.batch_size, len(self.images)
        epoch, place = divmod(self.step, total // size)
        if epoch != self.order_epoch:
            self.order = torch.randperm(total, generator=generator(self.settings.seed, "epoch", epoch))
            self.order_epoch = epoch
        return self.order[place * size : (place + 1) * size]

    def loss(self) -> torch.Tensor:
        rng, device = generator(self.settings.seed, "step", self.step), self.device
        index = self.batch().to(device)
        x0, labels = self.images[index], self.labels[index].clone()
        labels[(torch.rand(len(labels), generator=rng) < self.settings.label_dropout).to(device)] = self.num_classes
        sigma = draw_sigmas(len(x0), self.settings, rng)
        z = self.noise(x0.shape, rng)
        if self.sharp is not None:
            x0 = self.sharpened(x0, sigma, rng)
        if self.settings.horizontal_flip:
            turned = (torch.rand(len(x0), generator=rng) < 0.5).to(device)
            x0 = torch.where(per_image(turned), x0.flip(-1), x0)
        sigma = sigma.to(device)
        a = per_image((1 + sigma**2).rsqrt())
        b = a * per_image(sigma)
        x = x0 + per_image(sigma) * z
        output = self.forward(a * x, self.prior.table.t_of_sigma(sigma), labels)
        return torch.nn.functional.mse_loss(output, (self.prior.anchor(x, sigma) - x0) / b)

    def noise(self, shape, rng: torch.Generator) -> torch.Tensor:
        """Standard normal, from `rng` on a CPU; on a GPU, where a CPU could not keep up, from one of the step's own."""
        if self.device.type == "cpu":
            return torch.randn(shape, generator=rng)
        own = torch.Generator(self.device).manual_seed(seed_of(self.settings.seed, "noise", self.step))
        return torch.randn(shape, generator=own, device=self.device)

    def sharpened(self, x0, sigma, rng: torch.Generator) -> torch.Tensor:
        """x0 with sharp images in the place of those that are to be seen through little noise."""
        low, high = self.settings.sharp_sigma
        share = (math.log(high) - sigma.log()) / (math.log(high) - math.log(low))
        replaced = (torch.rand(len(x0), generator=rng) < share).to(self.device)
        others = self.sharp[torch.randint(len(self.sharp), (len(x0),), generator=rng).to(self.device)]
        return torch.where(per_image(replaced), others, x0)

    def train_step(self) -> torch.Tensor:
        loss = self.loss()
        # a GPU is not waited for at every step: a loss that is not finite is found before the next checkpoint
        if (self.device.type == "cpu" or self.step % LOOK == 0) and not torch.isfinite(loss):
            raise self._diverged(loss)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(self.step, self.settings)
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        self.ema.update_parameters(self.network)
        self.step += 1
        return loss.detach()

    def average(self):
        """The network with averaged weights, free of what the average still holds of the initial ones.

        After n steps the average is (1 - d) sum d^(n-k) w_k + d^n w_0; the last term goes, the rest is rescaled.
        """
        share = self.settings.ema_decay**self.step
        network = copy.deepcopy(self.ema.module).eval().requires_grad_(False)
        for name, value in network.state_dict().items():
            if self.step and value.is_floating_point():
                value.sub_(share * self.initial[name]).div_(1 - share)
        return network

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
        free = ("checkpoint_seconds", "compile")
        ours, theirs = self.settings.model_dump(mode="json"), json.loads(json.dumps(state["settings"]))
        changed = sorted(k for k in ours if k not in free and ours[k] != theirs.get(k))
        if changed and not adopt:
            raise VpauditError(
                f"{self.checkpoint} belongs to a run with other settings ({', '.join(changed)})",
                "delete the folder to start anew, restore the settings, or go on with `vpaudit prior --adopt`",
            )
        self.network.load_state_dict(state["network"])
        self.ema.load_state_dict(state["ema"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"]):
            optimizer.load_state_dict(saved)
        self.step, self.seconds, self.history = state["step"], state["seconds"], state.get("history", [])
        if changed:
            self.history.append({"step": self.step, **{k: {"from": theirs.get(k), "to": ours[k]} for k in changed}})
        return True

    def run(self, until: int | None = None) -> None:
        """Train to the end (or to step `until`), with a checkpoint every `checkpoint_seconds` and at the end."""
        stop = min(self.settings.steps, until or self.settings.steps)
        self.work.mkdir(parents=True, exist_ok=True)
        started, saved, average = time.monotonic(), time.monotonic(), None
        with tqdm(total=stop, initial=self.step, unit="step", disable=None, ascii=True, ncols=79) as bar:
            while self.step < stop:
                loss = self.train_step()
                average = loss if average is None else 0.98 * average + 0.02 * loss
                now = time.monotonic()
                self.seconds, started = self.seconds + now - started, now
                bar.update()
                if self.device.type == "cpu" or self.step % LOOK == 0:
                    bar.set_postfix(loss=f"{float(average):.4f}")
                if now - saved > self.settings.checkpoint_seconds or self.step == stop:
                    if not torch.isfinite(average):
                        raise self._diverged(average)
                    self.save()
                    saved = now
                    self._log(float(average))

    def _diverged(self, loss) -> VpauditError:
        return VpauditError(
            f"training diverged at step {self.step}: loss {float(loss)}",
            "lower prior.lr; the last checkpoint is kept",
        )

    def _log(self, loss: float) -> None:
        seen = self.step * self.settings.batch_size
        row = {"step": self.step, "images_seen": seen, "seconds": round(self.seconds, 1), "loss": round(loss, 5)}
        with open(self.work / "log.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + os.linesep)
