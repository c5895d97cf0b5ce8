"""The answer of an audit at the head of its page: one paragraph, who sees how much, and pictures of it side by side."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vpaudit.base import files, pixels
from vpaudit.commands.audit import answer, seen
from vpaudit.commands.audit.budget import Setup
from vpaudit.report.page import sprites
from vpaudit.report.results import Results
from vpaudit.study.layout import Layout

SHOWN = 6  # images, the first of those the page shows
ATTACKS = ("unconditional.posterior_mean", "unconditional.ddim")
GAP = 255  # between pictures


@dataclass(frozen=True)
class Strip:
    """Pictures of the images one below the other: of an adversary, or (label "image") the images themselves."""

    label: str
    mu: float | None
    src: str
    width: int


def build(layout: Layout, setup: Setup, found: dict, page: Path, redact: bool) -> None:
    """The study's page with the answer in it, at `page`.

    Args:
        found: `answer.build`; redact: no picture.
    """
    strips = [] if redact else [pictures(layout, setup, number, found) for number in range(len(setup.budgets))]
    section = answer.render("answer.html.j2", {**found, "strips": strips}, autoescape=True)
    head, body = layout.report.read_text(encoding="utf-8").split("<main>\n", 1)
    with files.atomic(page) as temporary:
        temporary.write_text(f"{head}<main>\n{section}{body}", encoding="utf-8")


def pictures(layout: Layout, setup: Setup, training: int, found: dict) -> list[Strip]:
    """The images, and the best guess and one sample for each adversary of a training of whom there is one."""
    study = Results(layout.results)
    with study.arrays("targets") as file:
        places = sprites.pick(file["labels"][: study.in_arrays()], SHOWN)
        strips = [_strip("image", None, file["images"][places])]
    for who in (row for row in found["adversaries"] if row["training"] == training):
        if (opened := seen.outputs(layout, setup, training, who["adversary"])) is not None:
            with opened as file:
                made = [_tiles(file, attack, places) for attack in ATTACKS if attack in file.files]
            strips.append(_strip(who["label"], who["mu"], np.concatenate(made, axis=2)))
    return strips


def _tiles(file, attack: str, places: list[int]) -> np.ndarray:
    """uint8 (n, H, W, C) of an attack's first outcome."""
    return pixels.packed(pixels.unpacked(file[attack][0, places]), "uint8").transpose(0, 2, 3, 1)


def _strip(label: str, mu: float | None, tiles: np.ndarray) -> Strip:
    tiles = tiles if tiles.ndim == 4 else tiles[..., None]
    picture = sprites.picture(sprites.joined(list(tiles), 0, max(1, tiles.shape[1] // 28), GAP))
    return Strip(label, mu, sprites.uri(picture, True), 4 * (1 + (label != "image")))
