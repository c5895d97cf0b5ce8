"""Bits about one image: leaked at most, by prior and by theory; and the price of a wrong prior."""

import pandas as pd

from vpaudit.base.labels import LABELS
from vpaudit.report.figures.axes import mu_axis
from vpaudit.report.figures.panels import legend, level, lines, read
from vpaudit.report.results import Results

PANELS = {
    "information": "bits about one image, estimated from above",
    "kl": "bits lost to a wrong prior, against: no class known",
}
LOWEST = 1e-3  # bits below which nothing is drawn


def draw(results, style: dict):
    table = read(results, "experiments/theory")
    numbers = pd.concat([table[table["quantity"] == kind] for kind in PANELS], ignore_index=True)
    label = numbers["prior"].map(lambda name: LABELS.get(name, name))
    shown = numbers.assign(label=label, panel=numbers["quantity"].map(PANELS))
    leaked = shown["quantity"] == "information"
    shown.loc[leaked, ["value", "low", "high"]] = shown.loc[leaked, ["value", "low", "high"]].clip(lower=LOWEST)
    theory = shown.loc[~numbers["prior"].isin(LABELS), "label"].unique()
    grid = lines(shown, "mu", "label", style, 0.54, dashed=theory, col="panel", sharey=False)
    grid.axes_dict[PANELS["information"]].set_yscale("log")
    price = grid.axes_dict[PANELS["kl"]]
    price.set_yscale("symlog", linthresh=1.0)
    level(price, 0)
    for axes in grid.axes.flat:
        mu_axis(axes, Results(results))
    return legend(grid.figure, 3), numbers
