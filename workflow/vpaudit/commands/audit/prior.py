"""The prior that an audit attacks with: the one named, or of those at hand the one that knows the images best."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from vpaudit import data
from vpaudit.base import pixels
from vpaudit.base.denoiser import AnySize, Shape
from vpaudit.base.errors import VpauditError
from vpaudit.commands import plan
from vpaudit.priors import find

if TYPE_CHECKING:  # torch is imported when a prior is asked, not before
    from torch import Tensor

    from vpaudit.measure.prior_choice import Score

FEWEST = 4  # images that an audit needs: correlations and intervals are over images
LOOKED_AT = 128  # files, some of which may be unusable, for the choice of a prior
LARGEST = 256  # side to which an any-size prior's images are brought unless another is asked for


@dataclass(frozen=True)
class Prior:
    """A prior's folder, and that of the Gaussian of its shape.

    Attributes:
        shape: (C, H, W), or `AnySize` until it is known which; sigma_range: the noise it may be asked at;
        calls_per_second: network evaluations of one image, here; remarks: why it was taken, for the reader; warnings:
            what is wrong with it.
    """

    folder: Path
    gaussian: Path
    shape: Shape
    sigma_range: tuple[float, float]
    calls_per_second: float = plan.CALLS_PER_SECOND
    remarks: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Name, and what images it makes."""
        return f"{self.folder.name} ({self.shape[1]}×{self.shape[2]}, {'grey' if self.channels == 1 else 'colour'})"

    @property
    def channels(self) -> int:
        return self.shape.channels if isinstance(self.shape, AnySize) else self.shape[0]

    def sized(self, side: int) -> Prior:
        """Of one size: its own, or where it takes any the nearest to `side` that it takes."""
        if not isinstance(self.shape, AnySize):
            return self
        side = min(max(side, self.shape.low), self.shape.high)
        return replace(self, shape=(self.channels, side, side))


def named(name: str, gaussian: str | None = None) -> Prior:
    """A prior by name (a folder of resources/priors) or path, and a Gaussian prior of its shape beside it.

    Raises:
        VpauditError: no such prior, or no Gaussian prior of its shape.
    """
    from vpaudit.priors import folder as folders
    from vpaudit.priors.schedule import noise_range

    folder = find.folder(name)
    about = folders.read(folder)
    folders.weight_files(about.part)
    if not about.unconditional:
        raise VpauditError(
            f'the prior in {folder} knows {about.config["num_class_embeds"]} classes, and none that means "not told"',
            "an audit does not know classes: name that embedding as null_class in its card.json, or take another prior",
        )
    sigma_range = noise_range(about.card, folders.load_scheduler(about).alphas_cumprod)
    found = find.gaussian(about.shape, [Path(gaussian)] if gaussian else find.near(folder))
    if found is None:
        raise VpauditError(
            f"no Gaussian prior of shape {about.shape} in {gaussian or folder.parent}",
            "fit one to training images of that shape, `vpaudit fit-gaussian NAME --out DIR`, and give --gaussian DIR",
        )
    return Prior(folder.resolve(), found.resolve(), about.shape, sigma_range)


def own_side(images: str, size: int | None) -> int:
    """The side to look at images at: as asked for, else their own, at most `LARGEST`."""
    return size or min(data.usual_side(images), LARGEST)


def check_enough(reading: data.Reading) -> None:
    """Raise unless enough images are usable."""
    if len(reading.images) < FEWEST:
        raise VpauditError(
            f"only {len(reading.images)} usable images, at least {FEWEST} are needed: {'; '.join(reading.lines())}",
            "each image is compared with others; add some, better 20 in all",
        )


def best(images: str, gaussian: str | None, size: int | None, grey: bool, seed: int) -> Prior:
    """Of the priors at hand the one that leaves the least error on a few of the images.

    Args:
        images: see `data.read_local`; gaussian: as for `named`.
        size, grey: only priors that make images of this side, or of one channel, are asked; else those of one channel
            serve images whose channels are equal, those of three serve all.

    Raises:
        VpauditError: no usable images, no such prior.
    """
    from vpaudit.measure import prior_choice

    side = own_side(images, size)
    reading = data.read_local(images, side, grey, "", not grey, seed, LOOKED_AT)
    check_enough(reading)
    chosen = data.select(reading.images, min(prior_choice.IMAGES, len(reading.images)), seed)
    few = _grey_if_it_is(pixels.from_uint8(chosen.images))
    scored, refused = [], []
    for name in find.names():
        try:
            prior = named(name, gaussian).sized(side)
            if _serves(prior, few, size, grey):
                scored.append(_scored(prior, few, seed))
        except VpauditError as error:
            refused.append(f"{name}: {error}")
    if not scored:
        asked = f" of side {size}" * (size is not None) + " of grey images" * grey
        raise VpauditError(f"no prior{asked} at hand for these images", "; ".join(refused) or "name one, --prior PATH")
    scored.sort(key=lambda one: one[1].mean)
    taken, score = scored[0]
    warnings = () if score.knows(prior_choice.own_spectrum(few, seed)) else (_unknown(taken),)
    return replace(taken, remarks=_remarks(scored, len(few)), warnings=warnings)


def _grey_if_it_is(images: Tensor) -> Tensor:
    """One channel of (N, C, H, W) where all channels are equal."""
    return images[:, :1] if bool((images == images[:, :1]).all()) else images


def _serves(prior: Prior, few: Tensor, size: int | None, grey: bool) -> bool:
    """Whether it makes images as asked for, and with no fewer channels than (N, C, H, W) images have."""
    return prior.channels >= few.shape[1] and size in (None, prior.shape[1]) and not (grey and prior.channels > 1)


def _scored(prior: Prior, few: Tensor, seed: int) -> tuple[Prior, Score]:
    """The prior with the speed of its network here, and how well it knows a few images."""
    from vpaudit.measure import prior_choice
    from vpaudit.priors import folder as folders
    from vpaudit.priors import network
    from vpaudit.stages.inputs import chosen

    model = network.load(prior.folder, chosen("auto"), "auto")
    begun = time.perf_counter()
    score = prior_choice.score(model, prior.shape, few, seed, folders.read(prior.folder).card)
    return replace(prior, calls_per_second=model.calls / (time.perf_counter() - begun)), score


def _remarks(scored: list[tuple[Prior, Score]], images: int) -> tuple[str, ...]:
    """The choice, the runner-up, and what each costs."""
    (taken, best), *others = scored
    lines = [f"prior: {taken}, the one at hand that knows these images best (--prior takes another)"]
    if others:
        more = 100 * (others[0][1].mean / best.mean - 1)
        lines.append(f"next best of {len(scored)}: {others[0][0]}, {more:.0f} % more error on {images} of the images")
    costs = (f"{1000 / prior.calls_per_second:.0f} ms with {prior.folder.name}" for prior, _ in scored[:2])
    return (*lines, f"a network evaluation of one image takes {', '.join(costs)}")


def _unknown(prior: Prior) -> str:
    return (
        f"No prior at hand knows images of this kind, not even {prior.folder.name}, the best of them: at some noise it "
        "is worse than a Gaussian with the images' own spectrum, or far worse than on its own kind. An adversary with "
        "a prior of their kind sees more than this audit. Train one on public images of that kind with "
        "`vpaudit train-prior`, and give it as --prior."
    )
