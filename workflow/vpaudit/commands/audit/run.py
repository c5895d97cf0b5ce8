"""`vpaudit audit --run`: what a recorded training by Opacus leaves visible of its images."""

import importlib
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from vpaudit.base import files, pixels
from vpaudit.base.denoiser import accepts
from vpaudit.base.errors import VpauditError

IMAGES = 10  # of the batch, where no limit is given


def audit(arguments) -> None:
    """Leak and attack of each image, a table, a picture, and what they say."""
    from vpaudit.opacus import Run
    from vpaudit.opacus import audit as recorded

    run = Run(arguments.recorded)
    if not run.steps or arguments.step not in (None, *run.steps):
        raise VpauditError(f"{run.path} has no record of step {arguments.step}", f"recorded: {run.steps}")
    scaling = recorded.Scaling(arguments.normalised_mean, arguments.normalised_std)
    number = run.steps[-1] if arguments.step is None else arguments.step
    step = recorded.RecordedStep(run, number, function(arguments.model), scaling)
    prior = _prior(arguments.prior, tuple(step.images.shape[1:]))
    adversary = _adversary(prior, arguments.gaussian, tuple(step.images.shape[1:]))
    out = Path(arguments.out or f"{run.path}-audit") / f"step-{number}"
    count = min(len(step.images), arguments.limit or IMAGES)
    findings = []
    for i in range(count):
        print(f"image {i + 1} of {count}", file=sys.stderr, flush=True)
        findings.append(recorded.find(step, i, adversary, out / "images" / prior.name))
    table = pd.DataFrame(
        [{"image": f.image, "departure": f.departure, **vars(layer)} for f in findings for layer in f.layers]
    )
    text = recorded.sentence(step, findings)
    with files.atomic(out / "leaks.csv", private=True) as path:
        table.to_csv(path, index=False)
    with files.atomic(out / "answer.txt", private=True) as path:
        path.write_text(text + "\n", encoding="utf-8")
    with files.atomic(out / "images.png", private=True) as path:
        picture(findings).savefig(path, dpi=150)
    layers = table.groupby("layer", sort=False)[["share", "equivalent_mu", "low", "high"]].mean()
    print(
        f"{layers.to_string(float_format=lambda v: f'{v:.3g}')}\n\n{text}\n\n{out}/ SHOWS the images: keep it private."
    )


def function(name: str | None):
    """What MODULE:NAME names; a module of the present folder is found too."""
    module, _, attribute = (name or "").partition(":")
    if not module or not attribute:
        raise VpauditError(f"--model {name} names no function", "give --model MODULE:NAME, as my_module:build")
    sys.path.insert(0, "")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise VpauditError(f"--model {name}: {error}", "run the command in the folder of that module") from error
    finally:
        sys.path.remove("")


def _prior(name: str | None, shape: tuple[int, int, int]) -> Path:
    """The folder of the prior named, or of the first at hand that makes images of this shape."""
    from vpaudit.priors import find
    from vpaudit.priors import folder as folders

    name = name or next((n for n, path in find.names().items() if accepts(folders.read(path).shape, shape)), None)
    if name is None:
        raise VpauditError(f"no prior at hand makes images of shape {shape}", "train one: vpaudit train-prior")
    return find.folder(name)


def _adversary(prior: Path, gaussian: str | None, shape: tuple[int, int, int]):
    """It knows this prior, and a Gaussian prior found beside it or named."""
    from vpaudit.opacus.posterior import Adversary
    from vpaudit.priors import find, network
    from vpaudit.priors import gaussian as gaussians

    beside = find.gaussian(shape, [Path(gaussian)] if gaussian else find.near(prior))
    if beside is None:
        raise VpauditError(f"no Gaussian prior of shape {shape}", "fit one, vpaudit fit-gaussian, and give --gaussian")
    return Adversary(network.load(prior, rows=1), gaussians.load(beside))


def picture(findings: list):
    """A column an image: as it was trained on, what two samples make of it, and their mean."""
    figure, axes = plt.subplots(
        4, len(findings), figsize=(1 + 0.9 * len(findings), 4.2), squeeze=False, layout="compressed"
    )
    for column, found in zip(axes.T, findings):
        for place, image in zip(column, (found.target, *found.draws[:2], found.draws.mean(dim=0))):
            place.imshow(np.squeeze(pixels.to_uint8(image[None])), cmap="gray", vmin=0, vmax=255)
            place.set(xticks=[], yticks=[])
        column[0].set_title(f"µ = {found.layers[-1].equivalent_mu:.2g}", fontsize=8)
    for place, name in zip(axes[:, 0], ("trained on", "sample", "another", "their mean")):
        place.set_ylabel(name, fontsize=8)
    return figure
