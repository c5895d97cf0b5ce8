"""Training images to priors: networks, few-step solvers, Gaussians."""

from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from vpaudit.base import files, pixels
from vpaudit.base.randomness import KeyedNoise, generator
from vpaudit.sampling import few_step as fewstep
from vpaudit.stages.data import training_images
from vpaudit.stages.inputs import chosen
from vpaudit.study.config import Config
from vpaudit.study.layout import Layout

REFINED = {"images": 512, "held_out": 256, "noises": 48}  # that few-step solvers are refined on, and judged by


def prior(config: Config, layout: Layout, until: int | None = None, adopt: bool = False, device: str = "auto") -> None:
    """training images -> results/<study>/prior: train, or go on training, and write weights and card."""
    from vpaudit import data
    from vpaudit.stages import training

    images, test = data.load(config.data.name, "train", full=True), data.load(config.data.name, "test")
    device = chosen(device)
    source = training.labelled(images, device, conditional=True)
    held_out, about = pixels.from_uint8(test.images), {"data": f"{config.data.name}, train split"}
    work, settings = layout.work / "prior", config.prior.training
    training.train(source, held_out, settings, work, layout.trained_prior, about, device, until, adopt)


def few_step(config: Config, layout: Layout, prior: str | None = None, device: str = "cpu") -> None:
    """prior's folder, Gaussian prior, training images -> its few_step.json: fitted solvers of few calls."""
    from vpaudit import data
    from vpaudit.priors import gaussian, network

    prior = prior or layout.prior
    settings, shipped = config.prior.few_step, data.load(config.data.name, "train")
    images = pixels.from_uint8(data.select(shipped, settings.images, config.seed).images)
    model = network.load(prior, device, config.prior.precision)
    if config.experiments.compile:
        model.compile()

    def noise(sigma):
        return KeyedNoise([(config.seed, "few step", i, sigma) for i in range(len(images))], images.shape[1:])()

    low, high = settings.sigma_range
    sigmas = np.geomspace(low, min(high, model.sigma_max), settings.levels)
    bar = tqdm(total=len(sigmas) * len(settings.calls), desc="few-step", disable=None, ascii=True, ncols=79)

    def progress(text):
        print(text, flush=True)
        bar.update()

    closed = gaussian.load(config.prior.gaussian)
    plans, errors = fewstep.fit(
        model.denoise, closed, images, sigmas, settings.calls, noise, settings.evaluations, report=progress
    )
    about = {"images": len(images), "data": f"{config.data.name}, train split"}
    fewstep.save(plans, prior, {**about, "rmse": {str(n): [round(e, 5) for e in row] for n, row in errors.items()}})


def refine_few_step(config: Config, prior: str, steps: int, device: str = "auto", seconds: float | None = None) -> None:
    """prior's folder with its few_step.json, Gaussian prior, training images -> a better few_step.json."""
    from vpaudit import data
    from vpaudit.priors import gaussian, network
    from vpaudit.sampling import few_step_refine

    settings, device = config.prior.few_step, chosen(device)
    plans, content = fewstep.load(prior), files.read_json(Path(prior) / fewstep.FILE)
    shipped = data.load(config.data.name, "train")
    drawn = data.select(shipped, REFINED["images"] + REFINED["held_out"], config.seed + 1).images
    order = torch.randperm(len(drawn), generator=generator(config.seed, "refine"))
    shuffled = pixels.from_uint8(drawn)[order].to(device)
    torch.set_float32_matmul_precision("high")
    model = network.load(prior, device, "float32", rows=1)  # no batch is padded
    closed = gaussian.load(config.prior.gaussian).to(device)
    low, high = settings.sigma_range
    sigmas = np.geomspace(low, min(high, model.sigma_max), REFINED["noises"])
    better, about = few_step_refine.all_of(
        model.denoise_rows, closed, plans, shuffled[REFINED["held_out"] :], shuffled[: REFINED["held_out"]], sigmas,
        steps, seconds or float("inf"), config.seed,
    )  # fmt: skip
    about["device"] = torch.cuda.get_device_name(device) if device.startswith("cuda") else "CPU"
    fewstep.save(better, prior, {k: v for k, v in content.items() if k != "plans"} | {"refined": about})


def fit_gaussian(config: Config, layout: Layout, out: str | None = None) -> None:
    """training images -> the Gaussian prior's folder."""
    from vpaudit.priors import gaussian

    images = training_images(config)
    fitted = gaussian.fit(pixels.from_uint8(images.images))
    about = {
        "data": f"{Path(config.data.train or config.data.name).name}, train split",
        "images": len(images),
        "shape": list(fitted.shape),
    }
    fitted.save(out or layout.results / "gaussian", about)
