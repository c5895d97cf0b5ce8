"""What draws agree on: how much may be called real at a guaranteed rate, and what a wrong prior makes of it."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from vpaudit.experiments.confident import LEVEL
from vpaudit.experiments.confident.claims import content_wrong
from vpaudit.measure.believed import RATE, TOLERANCE
from vpaudit.report.figures import style as styles
from vpaudit.report.figures.panels import MARKERS, MU, PALETTE, band, intervals, level, log_axis, read

PRIORS = {"unconditional": "right prior", "wrong_class": "wrong class"}
CALLING = {
    ("unconditional", "all"): "right prior",
    ("wrong_class", "all"): "wrong class",
    ("unconditional", "content"): "right prior, calling nothing that looks like background",
}
SHOWN = 2.0  # mu of the examples
SURE = 0.1  # std between draws below which a pixel is shown as sure
PANELS = {
    "called": ("share of pixels called real", None),
    "wrong": ("of these, share wrong", RATE),
    "content_wrong": ("of those on content, wrong", None),
    "within": ("images within the limit", LEVEL),
}


def draw(results, style: dict):
    """Above: rates over mu after conformal calibration under the right prior; below: examples at one mu."""
    table = read(results, "experiments/confident")
    figure = plt.figure(figsize=styles.size(style, 1.05))
    above, below = figure.subfigures(2, 1, height_ratios=(1, 2))
    tables = []
    for axes, (metric, (label, limit)) in zip(above.subplots(1, len(PANELS)), PANELS.items()):
        for place, ((prior, among), name) in enumerate(CALLING.items()):
            found = _rates(table[(table["prior"] == prior) & (table["among"] == among)], metric)
            if found.empty:  # the limit on an image's error is no matter of calling
                continue
            plt.sca(axes)
            band("mu", found, PALETTE[place], name, MARKERS[place])
            tables.append(found.assign(prior=prior, among=among, quantity=metric))
        if limit is not None:
            level(axes, limit, "guaranteed for the right prior")
        axes.set_title(label)
        log_axis(axes, table["mu"], MU)
    entries = {}
    for axes in above.axes:
        entries |= {name: handle for handle, name in zip(*axes.get_legend_handles_labels())}
    above.legend(entries.values(), entries.keys(), loc="outside upper center", ncols=2, frameon=False)
    _examples(below, table, style)
    return figure, pd.concat(tables, ignore_index=True)


def _rates(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """mu, value, low, high, n: means over images; of all content called real, the share that is wrong."""
    if metric == "content_wrong":
        return pd.DataFrame([{"mu": mu, **content_wrong(part)} for mu, part in rows.groupby("mu")]).dropna()
    return intervals(rows[rows["metric"] == metric], ["mu"])


def _examples(figure, table: pd.DataFrame, style: dict) -> None:
    """Rows of images: target; per prior the mean of draws, its spread, and where it is sure and wrong."""
    mus = table["mu"].unique()
    mu = float(mus[np.argmin(np.abs(np.log(mus / SHOWN)))])
    rows = table[table["metric"].str.startswith("example_") & np.isclose(table["mu"], mu)]
    ids = list(dict.fromkeys(rows["image"]))
    panels = figure.subplots(len(ids), 7, squeeze=False, gridspec_kw={"wspace": 0.04, "hspace": 0.04})
    for line_, image in zip(panels, ids):
        here = rows[rows["image"] == image]
        _show(line_[0], _pixels(here, "unconditional", "target"), "target" if image == ids[0] else "")
        for number_, (prior, name) in enumerate(PRIORS.items()):
            mean, spread = (_pixels(here, prior, kind) for kind in ("mean", "spread"))
            wrong = (spread < SURE) & (abs(mean - _pixels(here, prior, "target")) > TOLERANCE)
            titles = (f"{name}:\nmean of draws", "std between\ndraws", "sure and\nwrong")
            for axes, shown, title, limits in zip(
                line_[1 + 3 * number_ :], (mean, spread, wrong.any(axis=2)), titles, ((-1, 1), (0, 1), (0, 1))
            ):
                _show(axes, shown, title if image == ids[0] else "", limits)
    figure.suptitle(f"µ = {mu:g}", fontsize=style["font_size"])


def _pixels(rows: pd.DataFrame, prior: str, kind: str) -> np.ndarray:
    """(H, W, C) of one image; square, and of three channels where that fits and one does not."""
    values = rows[(rows["prior"] == prior) & (rows["metric"] == f"example_{kind}")].sort_values("place")["value"]
    channels = 1 if round(len(values) ** 0.5) ** 2 == len(values) else 3
    side = round((len(values) / channels) ** 0.5)
    return values.to_numpy().reshape(channels, side, side).transpose(1, 2, 0)


def _show(axes, image: np.ndarray, title: str, limits=(-1, 1)) -> None:
    low, high = limits
    shown = np.clip((image.astype(float) - low) / (high - low), 0, 1).squeeze()
    axes.imshow(shown, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.set_title(title)
