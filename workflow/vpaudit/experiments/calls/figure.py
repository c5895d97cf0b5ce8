"""A row a measure, a column a mu: quality relative to the converged output, and the distance to it.

Of a long grid every other mu is drawn; the CSV file has them all.
"""

import pandas as pd

from vpaudit.base.labels import METRICS
from vpaudit.base.pixels import DATA_RANGE
from vpaudit.report.figures.panels import intervals, legend, level, lines, log_axis, read, row_labels, scaled, some

SOLVERS = {
    "ddim": "DDIM",
    "heun": "Heun",
    "multistep_2": "DPM-Solver++ 2M",
    "multistep_3": "multistep of order 3",
    "few_step": "fitted to the prior",
}
MEASURES = ("mse", "ssim", "lpips_vgg_64")
APART = "rmse_converged"


def draw(results, style: dict):
    table = read(results, "experiments/calls")
    measures = [m for m in MEASURES if m in set(table["metric"])]
    numbers = pd.concat([against_converged(table, metric) for metric in (*measures, APART)], ignore_index=True)
    shown = numbers[numbers["mu"].isin(some(table["mu"]))].replace({"solver": SOLVERS})
    grid = lines(
        shown, "calls", "solver", style, 1.05, order=SOLVERS.values(), row="metric", col="mu",
        title="µ = {col_name:g}", sharey="row",
    )  # fmt: skip
    for axes in grid.axes[:-1].flat:
        axes.axhspan(0.99, 1.01, color="black", alpha=0.12, linewidth=0)
        axes.set_ylim(0.7, 1.3)
    for axes in grid.axes[-1]:
        axes.set_yscale("log")
        level(axes, 0.02)
    log_axis(grid.axes[-1], (1, 2, 6, 16, 32), "network evaluations")
    names = {metric: f"{METRICS[metric].label}\n/ converged" for metric in measures}
    row_labels(grid, names | {APART: "distance to\nconverged / range"})
    return legend(grid.figure, 5), numbers


def against_converged(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Of each solver: a metric over the converged output's, or the distance to that output over the pixel range."""
    rows = table[table["metric"] == metric]
    base = None if metric == APART else rows[rows["solver"] == "converged"]
    found = intervals(rows[rows["solver"].isin(SOLVERS)], ["solver", "calls", "mu"], base)
    if base is None:
        return scaled(found, 1 / DATA_RANGE).assign(metric=metric, relative_to="pixel range")
    return found.assign(metric=metric, relative_to="converged")
