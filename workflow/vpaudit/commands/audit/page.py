"""The answer of an audit at the head of its page: one paragraph, who sees how much, and pictures of it side by side."""

import base64
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vpaudit.base import files, pixels
from vpaudit.commands.audit import answer, recognition
from vpaudit.commands.audit.budget import Setup
from vpaudit.measure import believed
from vpaudit.report.page import sprites
from vpaudit.report.results import Results
from vpaudit.stages.believed import several
from vpaudit.study.config import Attack, Config
from vpaudit.study.layout import Layout

SHOWN = 6  # images, the first of those the page shows
GUESS, SAMPLE = "unconditional.posterior_mean", "unconditional.ddim"
GAP = 255  # between pictures
COVER = (111, 157, 203)  # what may not be called real, in a colour that grey images and most photographs lack


@dataclass(frozen=True)
class Strip:
    """Pictures of the images one below the other: of an adversary, or (label "image") the images themselves.

    Attributes:
        guess, sample: best guess (or image) and one sample, as data URIs; covered: the guess, what may not be called
            real under `COVER`, empty where that is not known.
    """

    label: str
    mu: float | None
    guess: str
    covered: str = ""
    sample: str = ""


def build(layout: Layout, config: Config, setup: Setup, found: dict, page: Path) -> None:
    """The study's page with the answer in it, at `page`.

    Args:
        config: of the study; redacted, the page has no picture. found: `answer.build`.
    """
    trainings = [] if config.report.redact else range(len(setup.budgets))
    strips = [pictures(layout, config, setup, number, found) for number in trainings]
    section = answer.render(
        "answer.html.j2", {**found, "strips": strips, "cover": COVER, "tradeoff": _figure(page, found)}, autoescape=True
    )
    head, body = layout.report.read_text(encoding="utf-8").split("<main>\n", 1)
    with files.atomic(page) as temporary:
        temporary.write_text(f"{head}<main>\n{section}{body}", encoding="utf-8")


def _figure(page: Path, found: dict) -> str:
    """Accuracy against what is visible, where it was measured: a curve, so a redacted page has it too."""
    path = page.parent / "figures" / "utility.png"
    if not found["utility"] or not path.exists():
        return ""
    content = path.read_bytes()
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def pictures(layout: Layout, config: Config, setup: Setup, training: int, found: dict) -> list[Strip]:
    """The images, and the best guess and one sample for each adversary of a training of whom there is one."""
    study, paths = Results(layout.results), layout.seen(config)
    with study.arrays("targets") as file:
        places = sprites.pick(file["labels"][: study.in_arrays()], SHOWN)
        strips = [Strip("image", None, _uri(file["images"][places]))]
    for who in (row for row in found["adversaries"] if row["training"] == training):
        part = recognition.part(setup, training, who["adversary"])
        if part in paths:
            with np.load(paths[part]) as file:
                strips.append(_strip(file, who, several(config), places))
    return strips


def _strip(file, who: dict, drawn: Attack | None, places: list[int]) -> Strip:
    guess = pixels.unpacked(file[GUESS][0, places])
    covered, sample = "", _uri(_tiles(pixels.unpacked(file[SAMPLE][0, places]))) if SAMPLE in file.files else ""
    if who["believed"] and drawn:
        real = _real(guess, pixels.unpacked(file[f"unconditional.{drawn.name}"][:, places]), who["believed"]["limit"])
        covered = _uri(np.where(real[..., None], _tiles(guess), np.uint8(COVER)))
    return Strip(who["label"], who["mu"], _uri(_tiles(guess)), covered, sample)


def _real(guess: np.ndarray, draws: np.ndarray, limit: float) -> np.ndarray:
    """bool (n, H, W): where samples (K, n, C, H, W) agree with the guess as closely as the limit."""
    return (believed.spread(guess, draws) <= limit) & (limit > 0)


def _tiles(made: np.ndarray) -> np.ndarray:
    """uint8 (n, H, W, C) of (n, C, H, W) in [-1, 1]."""
    return pixels.packed(made, "uint8").transpose(0, 2, 3, 1)


def _uri(tiles: np.ndarray) -> str:
    """uint8 (n, H, W) or (n, H, W, C), one below the other."""
    tiles = tiles if tiles.ndim == 4 else tiles[..., None]
    return sprites.uri(sprites.picture(sprites.joined(list(tiles), 0, max(1, tiles.shape[1] // 28), GAP)), True)
