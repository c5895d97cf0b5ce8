"""Images that an audit needs beside those it attacks: public ones of the same kind, and candidates for each target."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vpaudit import data
from vpaudit.base import files
from vpaudit.base.errors import VpauditError
from vpaudit.commands.audit.prior import Prior
from vpaudit.data.overlap import hashes
from vpaudit.priors import folder as folders

NO_CLASS = -1


@dataclass(frozen=True)
class Others:
    """Public images (None: none at hand) and what they are called; images read, among them the targets; classes.

    Attributes:
        labels: (n,) classes of the targets, as numbers of the public images' classes, or `NO_CLASS`.
    """

    public: data.ImageSet | None
    source: str
    candidates: data.ImageSet
    labels: np.ndarray

    def write(self, folder: Path) -> None:
        """The files that `paths` names."""
        contents = {"candidates": {"images": self.candidates.images, "labels": self.labels}}
        if self.public is not None:
            contents["public"] = {"images": self.public.images, "labels": self.public.labels}
        for name, path in self.paths(folder).items():
            if not Path(path).exists():  # its name holds its content's hash
                with files.atomic(Path(path)) as temporary, open(temporary, "wb") as file:
                    np.savez(file, **contents[name])

    def paths(self, folder: Path) -> dict[str, str]:
        """By key of the configuration's section `recognition`."""
        named = {"candidates": (self.candidates.images, self.labels)}
        if self.public is not None:
            named["public"] = (self.public.images, self.public.labels)
        return {
            name: str(folder / f"{name}-{hashlib.sha256(b''.join(a.tobytes() for a in arrays)).hexdigest()[:8]}.npz")
            for name, arrays in named.items()
        }


def others(
    prior: Prior, read: data.ImageSet, targets: data.ImageSet, public: str | None, labelled: bool, seed: int
) -> Others:
    """Public images in random order, none of them a target.

    Args:
        public: as the user names them; None: test images of the data set that the prior's card names, if it is at hand.
        labelled: whether the targets have classes that are to be told from reconstructions.

    Raises:
        VpauditError: public images that are named cannot be used; classes that are none of theirs.
    """
    known, source = _named(public, prior, seed) if public else _of_the_card(prior)
    if known is not None:
        taken = set(hashes(targets.images))
        known = known[[digest not in taken for digest in hashes(known.images)]]
        known = known[np.random.default_rng(seed).permutation(len(known))[: data.MOST]] if len(known) else None
    labels = _matched(targets, known) if labelled else np.full(len(targets), NO_CLASS)
    return Others(known, source, read, labels)


def _named(public: str, prior: Prior, seed: int) -> tuple[data.ImageSet, str]:
    side, grey = prior.shape[1], prior.shape[0] == 1
    found = data.read_local(public, side, grey, "", not grey, seed).images
    return found, "public images (--public)"


def _of_the_card(prior: Prior) -> tuple[data.ImageSet | None, str]:
    """Test images: the prior would be too sure of those that it was trained on."""
    name = re.match(r"(\w+), train split$", str(folders.read(prior.folder).card.get("data", "")))
    try:
        found = data.load(name[1], "test") if name else None
    except VpauditError:  # not on this machine
        found = None
    if found is None or found.images.shape[1:] != (*prior.shape[1:], *[3] * (prior.shape[0] == 3)):
        return None, ""
    return found, f"test images of {data.card(name[1])['title'].split(' (')[0]}"


def _matched(targets: data.ImageSet, public: data.ImageSet | None) -> np.ndarray:
    """Classes by name, as numbers of the public images' classes."""
    if public is None or (public.labels < 0).any():
        raise VpauditError(
            "--labels, but no public images with classes are at hand to learn the classes from",
            "give --public DIR with public images, sorted into folders of the same names",
        )
    if (targets.labels < 0).any():
        raise VpauditError("--labels, but the images have no classes", "sort them into a folder a class")
    names = {name.casefold(): number for number, name in enumerate(public.class_names)}
    unknown = [name for name in targets.class_names if name.casefold() not in names]
    if unknown:
        raise VpauditError(
            f"--labels: the public images know no class {unknown[0]!r}", f"theirs: {', '.join(public.class_names)}"
        )
    return np.array([names[targets.class_names[label].casefold()] for label in targets.labels])
