"""From a finished (or interrupted) training run to a prior's folder: weights, scheduler, model card, sample sheet."""

import platform
import shutil
import tempfile
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from vpaudit.base import files
from vpaudit.base.randomness import generator
from vpaudit.priors import HELD_OUT_SIGMAS, samples
from vpaudit.priors.network import NetworkPrior
from vpaudit.priors.train import Trainer, build_scheduler


def export(trainer: Trainer, folder: str | Path, held_out: torch.Tensor, about: dict) -> None:
    """Write a prior into `folder`, whole or not at all.

    Args:
        trainer: at any step; its averaged weights are written, as float16.
        held_out: float32 (N, C, H, W) images that were not trained on, for the card's loss by noise level.
        about: data set, licence and the like, copied into the card.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.tmp-"))
    try:
        network = trainer.average().cpu()
        part = scratch / trainer.settings.architecture
        network.save_pretrained(part)
        weights = part / "diffusion_pytorch_model.safetensors"
        half = {k: v.half() for k, v in load_file(weights).items()}
        with files.atomic(weights) as temporary:
            save_file(half, temporary)
        build_scheduler().save_pretrained(scratch / "scheduler")
        fold, base = trainer.prior.fold, trainer.prior.base and trainer.prior.base.to("cpu")
        prior = NetworkPrior(network, build_scheduler(), fold=fold, base=base)
        if base is not None:
            count = len(trainer.images) + (0 if trainer.sharp is None else len(trainer.sharp))
            base.save(scratch / "gaussian", {**about, "images": count, "shape": list(base.shape)}, half=True)
        Image.fromarray(samples.sheet(prior, per_class=8)).save(scratch / "samples.png")
        files.write_json(scratch / "card.json", model_card(trainer, prior, held_out, about, files.sha256(weights)))
        if folder.exists():
            shutil.rmtree(folder)
        scratch.chmod(0o755)
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def model_card(trainer: Trainer, prior: NetworkPrior, held_out: torch.Tensor, about: dict, digest: str) -> dict:
    """What a reader must know of the weights before trusting a figure made with them."""
    settings = trainer.settings
    seen = trainer.step * settings.batch_size
    return {
        **about,
        "parameters": sum(p.numel() for p in trainer.network.parameters()),
        "shape": list(prior.shape),
        "num_classes": prior.num_classes,
        "fold": prior.fold,
        "sigma_range": list(settings.sigma_range),
        "training": settings.model_dump(mode="json"),
        "settings_changed": trainer.history,
        "steps": trainer.step,
        "steps_planned": settings.steps,
        "images_seen": seen,
        "passes": round(seen / len(trainer.images), 2),
        "wall_seconds": round(trainer.seconds),
        "hardware": hardware_of(trainer.device),
        "held_out_images": len(held_out),
        "held_out_mse_by_sigma": _rounded(mse_by_sigma(prior, held_out)),
        "training_mse_by_sigma": _rounded(mse_by_sigma(prior, _some(trainer.images, len(held_out)))),
        "sha256": digest,
    }


def hardware_of(device: torch.device) -> str:
    """What a reader may want to know of the machine that trained."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()}, {torch.get_num_threads()} threads"


def _some(images: torch.Tensor, count: int) -> torch.Tensor:
    """`count` images spread over all of them, which lie class by class; on the CPU."""
    return images[torch.linspace(0, len(images) - 1, count).long().to(images.device)].cpu()


def _rounded(errors: dict[float, float]) -> dict[str, float]:
    return {f"{sigma:g}": round(value, 5) for sigma, value in errors.items()}


def mse_by_sigma(prior: NetworkPrior, images: torch.Tensor, seed: int = 0) -> dict[float, float]:
    """Mean squared error per pixel of E[x0 | x] at each of `HELD_OUT_SIGMAS`, unconditional; keyed noise."""
    result = {}
    for sigma in HELD_OUT_SIGMAS:
        z = torch.randn(images.shape, generator=generator(seed, "held out", sigma))
        estimate = prior.denoise(images + sigma * z, torch.full((len(images),), sigma))
        result[sigma] = float((estimate - images).square().mean())
    return result
