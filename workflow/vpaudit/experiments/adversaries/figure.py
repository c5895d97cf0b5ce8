"""Above, what each adversary has, as the mu of one release; below, MSE of the posterior mean; over epsilon."""

import pandas as pd

from vpaudit.base.adversaries import ADVERSARIES
from vpaudit.report.figures.panels import intervals, legend, lines, log_axis, read, row_labels

KEYS = ["metric", "training", "adversary", "epsilon"]
ROWS = {"mu": "worth one release of µ", "mse": "MSE", "named": "share named among 64"}
BOUND, TEMPLATE = "most that ReRo allows", "every round, exact template"


def draw(results, style: dict):
    table = read(results, "experiments/adversaries").drop(columns="mu")
    table["adversary"] = table["adversary"].map({name: about.label for name, about in ADVERSARIES.items()})
    for metric, shown, label in (("template", "mu", TEMPLATE), ("bound", "named", BOUND)):
        rows = table["metric"] == metric
        table.loc[rows, ["metric", "adversary"]] = shown, label
    table["training"] = [f"q = {q:g}, {t:,} rounds" for q, t in zip(table["sample_rate"], table["steps"])]
    numbers = intervals(table, KEYS)
    shown = numbers[numbers["metric"].isin(list(ROWS))]
    shown = shown.assign(metric=pd.Categorical(shown["metric"], list(ROWS)))
    names = [*(about.label for about in ADVERSARIES.values()), TEMPLATE, BOUND]
    columns = list(dict.fromkeys(table["training"]))
    grid = lines(
        shown.sort_values("metric"), "epsilon", "adversary", style, 1.0, row="metric", row_order=list(ROWS),
        col="training", col_order=columns, sharey="row", order=names, dashed=(TEMPLATE, BOUND),
    )  # fmt: skip
    for axes in grid.axes[0]:
        axes.set_yscale("log")
    log_axis(grid.axes.flat, table["epsilon"], "ε of the training")
    row_labels(grid, ROWS)
    return legend(grid.figure, 2), numbers
