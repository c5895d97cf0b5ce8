"""What is left visible: a few targets, what is released of them, and what each attack makes of it, over mu."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from vpaudit.base import pixels
from vpaudit.base.labels import LABELS, number, power
from vpaudit.report.results import Results

ROWS = (  # array, attack, draw
    ("released", None, 0),
    ("gaussian.wiener", "wiener", 0),
    ("unconditional.posterior_mean", "posterior_mean", 0),
    ("unconditional.ddim", "ddim", 0),
    ("unconditional.ddpm", "ddpm", 0),
    ("unconditional.ddpm", "ddpm", 1),
)
TARGETS = 3
GAP = 0.04  # between tiles, as a share of a tile
NUMBER = 2.6  # room that a number over a column needs, in lines


def draw(results, style: dict):
    """A block of rows a target, columns over mu. Grey values are never stretched: black is -1, white is 1.

    All tiles lie in one pair of axes measured in inches, which places them exactly and draws fast.
    """
    study = Results(results)
    with study.arrays("targets") as file:
        images, labels, ids, names = (file[k] for k in ("images", "labels", "ids", "class_names"))
    labels = labels[: study.in_arrays()]
    line = style["font_size"] / 72 * 1.35
    texts, head, block_gap = 11.5 * line * 0.62, 3.2 * line, 0.6 * line
    room = style["width"] - texts - 2.5 * line
    mus = fitting(study.mu, int(room / (NUMBER * line) - 2 - GAP))
    rows, columns = _rows(study), len(mus)
    across = room / (columns + 2 + GAP)
    for count in range(TARGETS, 0, -1):  # fewer targets where the page is low: the numbers over the tiles need room
        places = spread(labels, count)
        down = (style["height"] - head - len(places) * block_gap) / (len(places) * len(rows))
        side = min(across, down)
        if side >= NUMBER * line:
            break
    left = 2 * side + texts  # the target is twice as large, then the rows' names, then the tiles
    width = left + columns * side + 0.3 * line
    height = head + len(places) * (len(rows) * side + block_gap)
    figure = plt.figure(figsize=(width, height))
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set(xticks=[], yticks=[])
    axes.axis("off")
    _head(axes, study, mus, left, side, line)
    for block, place in enumerate(places):
        top = head + block * (len(rows) * side + block_gap)
        _tile(axes, pixels.signed(images[place]), 0.3 * line, top, 2 * side - 0.3 * line)
        label = f"target:\n{names[labels[place]]}" if labels[place] >= 0 else "target"
        axes.text(side, top + 2 * side + 0.2 * line, label, ha="center", va="top")
        for i, row in enumerate(rows):
            axes.text(left - 0.5 * line, top + (i + 0.5) * side, _name(row), ha="right", va="center")
    for column, mu in enumerate(mus):
        for i, tiles in enumerate(_column(study, rows, mu, places)):
            for block, tile in enumerate(tiles):
                top = head + block * (len(rows) * side + block_gap) + i * side
                _tile(axes, tile, left + column * side, top, side * (1 - GAP))
    return figure, _numbers(study, mus, ids[places], labels[places], names)


def fitting(mu: list[float], columns: int) -> list[float]:
    """All of the grid where so many columns fit, else as many of it, both ends among them."""
    if columns >= len(mu):
        return mu
    return [mu[i] for i in np.unique(np.linspace(0, len(mu) - 1, max(2, columns)).round().astype(int))]


def spread(labels: np.ndarray, count: int = TARGETS) -> list[int]:
    """Places of a few targets: the first of each of some unlike classes (shoe, top, bag where there are ten).

    Of images without classes the first few.
    """
    if (labels < 0).all():
        return list(range(min(count, len(labels))))
    wanted = [c for c in dict.fromkeys((9, 0, 8, *np.unique(labels).tolist())) if (labels == c).any()]
    return [int(np.flatnonzero(labels == c)[0]) for c in wanted[:count]]


def _rows(study: Results) -> list[tuple]:
    with study.arrays("reconstructions", study.mu[0]) as file:
        draws = {name: len(file[name]) for name in {row[0] for row in ROWS} & set(file.files)}
    return [row for row in ROWS if row[1] is None or row[2] < draws.get(row[0], 0)]


def _name(row: tuple) -> str:
    if row[1] is None:
        return "released"
    return f"{LABELS[row[1]]} {row[2] + 1}" if row[1] == "ddpm" else LABELS[row[1]]


def _head(axes, study: Results, mus: list[float], left: float, side: float, line: float) -> None:
    """mu and, below it, epsilon over each column."""
    for y, name in ((0.9, "µ = C/σ"), (2.1, f"ε at δ = {power(study.config['mechanism']['delta'])}")):
        axes.text(left - 0.5 * line, y * line, name, ha="right", va="center")
    for column, mu in enumerate(mus):
        x = left + (column + 0.5 * (1 - GAP)) * side
        axes.text(x, 0.9 * line, f"{mu:g}", ha="center", va="center", weight="bold")
        axes.text(x, 2.1 * line, number(study.epsilon(mu)), ha="center", va="center")


def _column(study: Results, rows: list[tuple], mu: float, places: list[int]):
    """For each row the tiles of the targets at this mu, (H, W, C) each."""
    with study.arrays("observations", mu) as seen, study.arrays("reconstructions", mu) as made:
        for name, attack, number_ in rows:
            if attack is None:
                tiles = seen["y"][places] / pixels.per_image(seen["lam"][places])
            else:
                tiles = pixels.unpacked(made[name][number_, places])
            yield tiles.transpose(0, 2, 3, 1)


def _tile(axes, image: np.ndarray, x: float, y: float, side: float) -> None:
    """An image (H, W) or (H, W, C) in [-1, 1], its upper left corner at x, y."""
    axes.imshow(
        pixels.to_unit(image), cmap="gray", vmin=0, vmax=1, interpolation="nearest",
        extent=(x, x + side, y + side, y), aspect="auto",
    )  # fmt: skip


def _numbers(study: Results, mus: list[float], ids, labels, names) -> pd.DataFrame:
    """The metrics of every tile."""
    shown = {(r[0], r[2]) for r in ROWS if r[1]} | {("none.raw", 0)}
    t = study.metrics[study.metrics["image"].isin(ids) & study.metrics["mu"].isin(mus)]
    keep = [key in shown for key in zip(t["prior"] + "." + t["attack"], t["draw"])]
    classes = {int(i): str(names[label]) if label >= 0 else "" for i, label in zip(ids, labels)}
    t = t[keep].assign(target=lambda rows: rows["image"].map(classes))
    return t[["image", "target", "prior", "attack", "draw", "mu", "metric", "value"]]
