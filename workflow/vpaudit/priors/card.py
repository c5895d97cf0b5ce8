"""From a finished (or interrupted) training run to a prior's folder: weights, scheduler, model card, sample sheet."""

import platform
import shutil
import tempfile
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from vpaudit.base import files
from vpaudit.base.denoiser import shape_for_card
from vpaudit.base.randomness import generator
from vpaudit.priors import memorisation, samples
from vpaudit.priors.network import NetworkPrior
from vpaudit.priors.schedule import Trust
from vpaudit.priors.train import Trainer, build_scheduler

HELD_OUT_SIGMAS = (0.05, 0.1, 0.229, 0.458, 1.145, 2.29, 4.58, 11.45, 22.9, 45.8, 114.5)
ONE_SIDED = 1.645  # standard errors below an estimate, for 95 %
COLUMNS, ROWS, STEPS = 8, 8, 30  # of the sample sheet (a row a class, if there are classes), and of its sampler


def export(trainer: Trainer, folder: str | Path, held_out: torch.Tensor, about: dict) -> None:
    """Write a prior into `folder`, whole or not at all.

    Args:
        trainer: at any step; its averaged weights are written, as float16.
        held_out: float32 (N, C, H, W) images that were not trained on, for the card's error by noise level; half of
            them instead for how far the network is trusted beyond the Gaussian prior that it corrects.
        about: data set, licence and the like, copied into the card.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.tmp-"))
    try:
        network = trainer.average()
        part = scratch / trainer.settings.architecture
        network.save_pretrained(part)
        weights = part / "diffusion_pytorch_model.safetensors"
        half = {k: v.half() for k, v in load_file(weights).items()}
        with files.atomic(weights) as temporary:
            save_file(half, temporary)
        build_scheduler().save_pretrained(scratch / "scheduler")
        base, sigma_range = trainer.prior.base, trainer.settings.sigma_range
        prior = NetworkPrior(network, build_scheduler(), *sigma_range, fold=trainer.prior.fold, base=base)
        images, columns = drawn(prior)
        Image.fromarray(samples.sheet(images, columns)).save(scratch / "samples.png")
        card = model_card(trainer, prior, held_out, images, about)
        if base is not None:
            base.to("cpu").save(
                scratch / "gaussian", {**about, "shape": card["shape"], "images": len(trainer.source)}, half=True
            )
        files.write_json(scratch / "card.json", {**card, "sha256": files.sha256(weights)})
        if folder.exists():
            shutil.rmtree(folder)
        scratch.chmod(0o755)
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def drawn(prior: NetworkPrior) -> tuple[torch.Tensor, int]:
    """Samples for the sheet, and its columns: a row a class and one without, or rows without where there are none."""
    rows = prior.num_classes + 1 if prior.num_classes else ROWS
    labels = torch.arange(rows * COLUMNS) // COLUMNS if prior.num_classes else None
    return samples.draw(prior, 0, range(rows * COLUMNS), STEPS, 2, labels), COLUMNS


def model_card(
    trainer: Trainer, prior: NetworkPrior, held_out: torch.Tensor, images: torch.Tensor, about: dict
) -> dict:
    """What a reader must know of the weights before trusting a figure made with them; sets the prior's trust.

    Args:
        images: samples of the prior.
    """
    settings, fitted = trainer.settings, {}
    if prior.base is not None:
        fitting, held_out = held_out[::2], held_out[1::2]
        prior.trust = trust_in(prior, fitting)
        fitted = {"trust": [list(HELD_OUT_SIGMAS), prior.trust.shares.tolist()], "trust_fitted_to": len(fitting)}
    source, device = trainer.source, trainer.device
    seen = held_out_errors(prior, source.some(len(held_out)).cpu()).values()
    return {
        **about,
        "images": len(source),
        "parameters": sum(p.numel() for p in trainer.network.parameters()),
        "shape": shape_for_card(prior.shape),
        "num_classes": prior.num_classes,
        "fold": prior.fold,
        "sigma_range": list(settings.sigma_range),
        "training": settings.model_dump(mode="json"),
        "settings_changed": trainer.history,
        "steps": trainer.step,
        "steps_planned": settings.steps if settings.minutes is None else trainer.step,
        "images_seen": trainer.images_seen,
        "passes": round(trainer.images_seen / len(source), 2),
        "wall_seconds": round(trainer.seconds),
        "hardware": hardware_of(trainer.device),
        "held_out_images": len(held_out),
        **fitted,
        **held_out_errors(prior, held_out),
        **dict(zip(("training_mse_by_sigma", "training_gaussian_mse_by_sigma"), seen)),
        "memorisation": memorisation.examine(images.to(device), held_out.to(device), source.whole()),
    }


def hardware_of(device: torch.device) -> str:
    """What a reader may want to know of the machine that trained."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()}, {torch.get_num_threads()} threads"


@torch.inference_mode()
def held_out_errors(prior: NetworkPrior, images: torch.Tensor) -> dict:
    """Mean squared error per pixel of E[x0 | x] at each of `HELD_OUT_SIGMAS`, unconditional; keyed noise.

    Returns:
        held_out_mse_by_sigma: the prior's; gaussian_mse_by_sigma: that of the Gaussian it corrects, if it does.
    """
    found = {"held_out_mse_by_sigma": {}} | ({} if prior.base is None else {"gaussian_mse_by_sigma": {}})
    for sigma in HELD_OUT_SIGMAS:
        x, at = _noisy(images, sigma)
        for errors, model in zip(found.values(), (prior, prior.base)):
            estimate = model.denoise(x.to(prior.device), at.to(prior.device)).to(x.device)
            errors[f"{sigma:g}"] = round(float((estimate - images).double().square().mean()), 5)
    return found


@torch.inference_mode()
def trust_in(prior: NetworkPrior, images: torch.Tensor) -> Trust:
    """The share, in [0, 1], of a network's correction of its Gaussian prior that images bear out.

    The lower 95 % limit of the share of least error: near that share the error hardly depends on it, and where the
    correction is worth nothing, the limit leaves the Gaussian as it is.

    Args:
        prior: without `trust`; images: neither trained on, nor among those that errors are reported of.
    """
    shares = []
    for sigma in HELD_OUT_SIGMAS:
        x, at = (part.to(prior.device) for part in _noisy(images, sigma))
        start = prior.base.denoise(x, at)
        correction, wanted = prior.denoise(x, at) - start, images.to(prior.device) - start
        gained, spent = ((correction * v).flatten(1).sum(1).double() for v in (wanted, correction))
        best = gained.sum() / spent.sum().clamp_min(1e-20)
        error = (gained - best * spent).std() * len(images) ** 0.5 / spent.sum().clamp_min(1e-20)
        shares.append(round(min(1.0, max(0.0, float(best - ONE_SIDED * error))), 4))
    return Trust(HELD_OUT_SIGMAS, shares)


def _noisy(images: torch.Tensor, sigma: float) -> tuple[torch.Tensor, torch.Tensor]:
    noise = torch.randn(images.shape, generator=generator(0, "held out", sigma))
    return images + sigma * noise, torch.full((len(images),), sigma)
