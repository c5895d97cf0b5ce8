"""Columns: images of the prior itself, and real ones; rows: spread over error, and coverage of 90 % intervals."""

import pandas as pd

from vpaudit.report.figures.panels import MU, intervals, legend, level, lines, log_axis, read, row_labels

TITLES = {"prior": "images drawn from the prior: the sampler's part", "real": "test images: sampler and network"}
SAMPLERS = {"ancestral": "ancestral", "multistep_2": "2nd-order SDE", "ddrm": "DDRM"}
ROWS = {
    "pairwise / error": "distance between draws\n/ distance to target (MSE)",
    "coverage": "coverage of 90 % intervals",
}
KEYS = ["targets", "sampler", "calls", "mu"]


def draw(results, style: dict):
    table = read(results, "experiments/calibration")
    table = table[table["sampler"].isin(SAMPLERS)]
    chains = chain(table)
    tables = []
    for targets in TITLES:
        for _, part in table[table["targets"] == targets].groupby(["sampler", "calls"], sort=False):
            error = part[part["metric"] == "error"]
            spread = intervals(part[part["metric"] == "pairwise"], KEYS, error)
            cover = intervals(part[part["metric"] == "coverage"], KEYS)
            tables += [spread.assign(metric="pairwise / error"), cover.assign(metric="coverage")]
    numbers = pd.concat(tables, ignore_index=True)
    shown = numbers.assign(chain=chain(numbers), kind=numbers["targets"].map(TITLES))
    grid = lines(shown, "mu", "chain", style, 0.75, order=chains.unique(), row="metric", col="kind", sharey="row")
    level(grid.axes[0], 1)
    for axes in grid.axes[1]:
        axes.axhspan(0.88, 0.92, color="black", alpha=0.12, linewidth=0)
    log_axis(grid.axes[-1], table["mu"], MU)
    row_labels(grid, ROWS)
    return legend(grid.figure, 4), numbers


def chain(table: pd.DataFrame) -> pd.Series:
    """The sampler and its number of steps, as the legend shows them."""
    return table["sampler"].map(SAMPLERS) + table["calls"].map(", {:g} steps".format)
