"""Left: quality of the fitted solver over that of the converged output; right: the distance between the two."""

import pandas as pd

from vpaudit.base.labels import METRICS
from vpaudit.base.pixels import DATA_RANGE
from vpaudit.report.figures.panels import MU, intervals, legend, level, lines, log_axis, read, scaled

APART = "rmse_converged"


def draw(results, style: dict):
    table = read(results, "experiments/fitted")
    tables = []
    for metric in (m for m in METRICS if m in set(table["metric"])):
        rows = table[table["metric"] == metric]
        base, found = rows[rows["solver"] == "converged"], rows[rows["solver"] == "few_step"]
        tables.append(intervals(found, ["calls", "mu"], base).assign(metric=metric, relative_to="converged"))
    apart = scaled(intervals(table[table["metric"] == APART], ["calls", "mu"]), 1 / DATA_RANGE)
    numbers = pd.concat([*tables, apart.assign(metric=APART, relative_to="pixel range")])
    titles = {
        "converged": f"{table['calls'].min():g} evaluations / converged",
        "pixel range": "distance to converged / range",
    }
    names = {APART: "distance"} | {name: metric.label for name, metric in METRICS.items()}
    shown = numbers.assign(measure=numbers["metric"].map(names), panel=numbers["relative_to"].map(titles))
    grid = lines(shown, "mu", "measure", style, 0.42, col="panel", sharey=False)
    left, right = grid.axes.flat
    left.axhspan(0.99, 1.01, color="black", alpha=0.12, linewidth=0)
    level(right, 0.02)
    right.set_yscale("log")
    log_axis(grid.axes.flat, table["mu"], MU)
    return legend(grid.figure, 5), numbers
