"""MSE of each estimator over the network's posterior mean's, over µ."""

from vpaudit.report.figures.panels import MU, intervals, legend, level, lines, log_axis, read

KEYS = ["estimator", "mu"]
FIRST = "network"
SHOWN = (0.85, 1.25)  # from here up, an estimator is of no use: it is in the table


def draw(results, style: dict):
    table = read(results, "experiments/norm")
    base = table[table["estimator"] == FIRST]
    numbers = intervals(table[table["estimator"] != FIRST], KEYS, base)
    grid = lines(numbers, "mu", "estimator", style, 0.55)
    axes = grid.axes.flat[0]
    axes.set_ylim(*SHOWN)
    axes.set_ylabel("MSE over that of the network's posterior mean")
    level(axes, 1)
    log_axis(axes, table["mu"], MU)
    return legend(grid.figure, 2), numbers
