"""What is left visible: a few targets, what is released of them, and what each attack makes of it, over mu."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from vpaudit.figures.study import LABELS, Study, number

ROWS = (
    ("released", None, 0),
    ("gaussian.wiener", "wiener", 0),
    ("unconditional.posterior_mean", "posterior_mean", 0),
    ("unconditional.ddim", "ddim", 0),
    ("unconditional.ddpm", "ddpm", 0),
    ("unconditional.ddpm", "ddpm", 1),
)
TARGETS = 3


def draw(study: Study, style: dict):
    """A block of rows a target; the first column is the target, the others are mu. Grey values are never stretched."""
    with study.arrays("targets") as file:
        images, labels, ids, names = (file[k] for k in ("images", "labels", "ids", "class_names"))
    places = _spread(labels)
    rows = [row for row in ROWS if row[0] == "released" or _has(study, row)]
    columns = len(study.mu) + 1
    side = min(0.11 * style["width"], style["width"] / (columns + 1.8))
    size = (side * (columns + 1.8), side * (len(places) * (len(rows) + 0.45) + 0.6))
    figure = plt.figure(figsize=size)
    figure.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0.01, hspace=0.01)
    blocks = figure.subfigures(len(places), 1)
    for count, (block, place) in enumerate(zip(np.atleast_1d(blocks), places)):
        panels = block.subplots(len(rows), columns, squeeze=False)
        for line, row in enumerate(rows):
            text = (
                "released, y/λ" if row[1] is None else LABELS[row[1]] + (f" {row[2] + 1}" if row[1] == "ddpm" else "")
            )
            _show(panels[line, 0], _signed(images[place]) if line == 0 else None)
            panels[line, 0].set_ylabel(text, rotation=0, ha="right", va="center", labelpad=4)
            for column, mu in enumerate(study.mu):
                _show(panels[line, column + 1], _tile(study, row, mu, place))
        panels[0, 0].set_title(f"target: {names[labels[place]]}")
        for column, mu in enumerate(study.mu):
            epsilon = f"\nε = {number(study.epsilon(mu))}" if count == 0 else ""
            panels[0, column + 1].set_title(f"µ = {mu:g}{epsilon}")
    return figure, _numbers(study, ids[places], labels[places], names)


def _spread(labels: np.ndarray) -> list[int]:
    """Places of a few targets of different classes: the first bag-like, shoe-like and top-like labels that occur."""
    wanted = [c for c in (9, 0, 8, *range(10)) if (labels == c).any()]
    return [int(np.flatnonzero(labels == c)[0]) for c in list(dict.fromkeys(wanted))[:TARGETS]]


def _has(study: Study, row) -> bool:
    with study.arrays("reconstructions", study.mu[0]) as file:
        return row[0] in file.files and len(file[row[0]]) > row[2]


def _tile(study: Study, row, mu: float, place: int) -> np.ndarray:
    if row[1] is None:
        with study.arrays("observations", mu) as file:
            return file["y"][place] / file["lam"][place]
    with study.arrays("reconstructions", mu) as file:
        return file[row[0]][row[2], place]


def _signed(image: np.ndarray) -> np.ndarray:
    image = image.astype(np.float64) / 127.5 - 1
    return image[None] if image.ndim == 2 else image.transpose(2, 0, 1)


def _show(axes, image: np.ndarray | None) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if image is not None:
        shown = np.clip((image.transpose(1, 2, 0) + 1) / 2, 0, 1)
        axes.imshow(shown.squeeze(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")


def _numbers(study: Study, ids, labels, names) -> pd.DataFrame:
    """The metrics of every tile."""
    shown = {(r[0], r[2]) for r in ROWS if r[1]}
    t = study.metrics[study.metrics["image"].isin(ids)].copy()
    key = list(zip(t["prior"] + "." + t["attack"], t["draw"]))
    t = t[[k in shown for k in key]]
    classes = dict(zip(ids.tolist(), names[labels]))
    return t.assign(target=t["image"].map(classes))[
        ["image", "target", "prior", "attack", "draw", "mu", "metric", "value"]
    ]
