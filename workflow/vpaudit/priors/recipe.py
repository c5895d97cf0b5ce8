"""Which network to train: by the images' size, the machine, and the time there is.

Measured on two cores with AMX: a transformer of 64 tokens sees five times the images a second of a U-Net that is as
good for each image, so where time is short it is ahead. On a GPU the U-Net at (nearly) full size is. Which precision
convolutions are faster in is timed: their backward pass in bfloat16 takes four times that in float32 on a processor
with AMX, and half of it on one with AVX-512 alone. A U-Net at any size, width 32 and folded by 2, is what `photographs`
was trained as.
"""

import tempfile
import time
import timeit
from collections.abc import Iterator
from functools import cache

import torch

from vpaudit.base import machine
from vpaudit.base.denoiser import AnySize, Shape
from vpaudit.priors.batches import Labelled, Scales
from vpaudit.priors.train import Trainer
from vpaudit.study.config import Training

TOKENS = 8  # a side, of a transformer
ENOUGH = 60_000  # images that a network must see in its time to be chosen; fewer where EPOCHS are fewer
EPOCHS = 20
STEPS = {"transformer": 1000, "unet": 8000}  # aimed at; batches are as large as that allows
BATCHES = {"cpu": (16, 256), "cuda": (128, 512)}  # smallest and largest
TRIAL = {"cpu": 16, "cuda": 128}  # images in a step that is timed


def candidates(shape: Shape, device: str) -> Iterator[Training]:
    """From the best to the fastest."""
    kind = torch.device(device).type
    unet = Training(
        architecture="unet", optimizer="adamw", residual=True, precision=precision("unet", device), compile=False,
        dropout=0.1 if kind == "cuda" else 0.0, warmup_steps=200, ema_decay=0.999,
    )  # fmt: skip
    if isinstance(shape, AnySize):
        sizes = [(64, 4, 2, 2), (48, 4, 4, 1), (32, 4, 4, 1)]
        for width, levels, layers, fold in sizes if kind == "cuda" else [(48, 4, 1, 2), (32, 4, 1, 2), (32, 4, 1, 4)]:
            yield unet.model_copy(update={"width": width, "levels": levels, "layers": layers, "patch_size": fold})
        return
    side = min(shape[1:])
    fold = next((f for f in (1, 2, 4, 8) if side // f <= 32 and shape[1] % f == 0 == shape[2] % f), 1)
    if kind == "cuda":
        for width in (64, 48, 32):
            yield unet.model_copy(update={"width": width, "levels": 3, "layers": 2, "patch_size": fold})
        return
    patch = next((p for p in range(-(-side // TOKENS), side) if shape[1] % p == 0 == shape[2] % p), 1)
    transformer = Training(
        residual=True, precision=precision("transformer", device), compile=False, warmup_steps=100, patch_size=patch
    )
    if shape[1] == shape[2]:  # diffusers' transformer is square
        for width, layers in ((256, 8), (192, 6), (128, 4), (64, 2)):
            yield transformer.model_copy(update={"width": width, "layers": layers, "heads": max(1, width // 64)})
    else:
        yield unet.model_copy(update={"width": 32, "levels": 2, "layers": 1, "patch_size": fold})


def precision(architecture: str, device: str) -> str:
    """The one that the device trains such a network faster in."""
    if torch.device(device).type == "cuda":
        return "bfloat16"
    if architecture == "unet":
        return convolution_precision()
    return "bfloat16" if machine.cpu_has_bfloat16() else "float32"


@cache
def convolution_precision() -> str:
    """The one that this CPU trains convolutions faster in."""
    if not machine.cpu_has_bfloat16():
        return "float32"
    return min(("float32", "bfloat16"), key=_convolution_seconds)


def _convolution_seconds(precision: str) -> float:
    layer, x = torch.nn.Conv2d(64, 64, 3, padding=1), torch.randn(32, 64, 32, 32, requires_grad=True)

    def step():
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            layer(x).float().square().mean().backward()

    step()  # the first one sets up
    return min(timeit.repeat(step, number=1, repeat=7))  # the least disturbed by what else runs


def images_a_second(source: Labelled | Scales, settings: Training, device: str) -> float:
    """Of training steps; the first one, which sets up, is not counted."""
    small = settings.model_copy(update={"batch_size": min(TRIAL[torch.device(device).type], len(source))})
    with tempfile.TemporaryDirectory() as work:
        trial = Trainer(source, small.model_copy(update={"residual": False}), work, device)
        trial.loss().backward()
        begun = time.perf_counter()
        for _ in range(2):
            float(trial.train_step())
    return 2 * small.batch_size / (time.perf_counter() - begun)


def choose(source: Labelled | Scales, device: str, minutes: float | None, epochs: float | None, **others) -> Training:
    """The best network that sees enough images in `minutes`, or, with `epochs` instead, the best one.

    Args:
        others: settings that are taken as they are.
    """
    enough = min(ENOUGH, EPOCHS * len(source))
    for settings in candidates(source.shape, device):
        rate = images_a_second(source, settings, device)
        seen = epochs * len(source) if minutes is None else 60 * minutes * rate
        network = f"{settings.architecture}, width {settings.width}, {settings.layers} layers"
        print(f"{network}: {rate:.0f} images/s, sees {seen:,.0f}, wanted {enough:,}", flush=True)
        if minutes is None or seen >= enough:
            break
    low, high = BATCHES[torch.device(device).type]
    size = 2 ** round(torch.tensor(max(1.0, seen / STEPS[settings.architecture])).log2().item())
    batch = min(max(low, min(high, size)), len(source))
    warm = max(1, min(settings.warmup_steps, round(seen / batch / 10)))
    length = {"minutes": minutes} if minutes else {"images_seen": max(batch, round(seen))}
    return settings.model_copy(update={"batch_size": batch, "warmup_steps": warm, **length, **others})
