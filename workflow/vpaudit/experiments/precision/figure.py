"""Left: MSE in bfloat16 over that in float32; right: root mean square between the two outputs over the range."""

import pandas as pd
from matplotlib.ticker import LogFormatterSciNotation

from vpaudit.base.pixels import DATA_RANGE
from vpaudit.report.figures.panels import MU, intervals, legend, level, lines, log_axis, read, scaled

RATIO, APART = "MSE, bfloat16 / float32", "RMS difference / range"
KEYS = ["sampler", "mu"]


def draw(results, style: dict):
    table = read(results, "experiments/precision")
    base, rows = (table[(table["metric"] == "mse") & (table["precision"] == kind)] for kind in ("float32", "bfloat16"))
    tables = []
    for sampler, part in rows.groupby("sampler", sort=False):
        apart = intervals(table[(table["metric"] == "rms") & (table["sampler"] == sampler)], KEYS)
        tables += [
            intervals(part, KEYS, base[base["sampler"] == sampler]).assign(quantity=RATIO),
            scaled(apart, 1 / DATA_RANGE).assign(quantity=APART),
        ]
    numbers = pd.concat(tables, ignore_index=True)
    grid = lines(numbers, "mu", "sampler", style, 0.42, col="quantity", sharey=False)
    level(grid.axes_dict[RATIO], 1)
    grid.axes_dict[APART].set_yscale("log")
    # a decade holds but one tick
    grid.axes_dict[APART].yaxis.set_minor_formatter(LogFormatterSciNotation(minor_thresholds=(2, 1)))
    log_axis(grid.axes.flat, table["mu"], MU)
    return legend(grid.figure, 4), numbers
