"""Metric against mu: attacks with 95 % intervals, bounds where theory has one, two baselines."""

import numpy as np
import pandas as pd

from vpaudit.base.labels import LOOKS, METRICS
from vpaudit.report.figures import style as styles
from vpaudit.report.figures.axes import epsilon_axis, legend, lines, mu_axis
from vpaudit.report.results import BASELINES, BOUNDS, Results, limits


def draw(results, style: dict):
    """Four panels, one a metric; legend below all. A metric that could not be computed says so in its place."""
    study = Results(results)
    tables = {metric: study.compared(metric) for metric in study.panels if metric in set(study.metrics["metric"])}
    table = pd.concat([rows.assign(metric=metric) for metric, rows in tables.items()], ignore_index=True)
    columns, share = (1, 2.5) if styles.narrow(style) else (2, 0.9)
    grid = lines(
        table[~table["look"].isin((*BASELINES, *BOUNDS))], style, share, "look", col="metric", col_wrap=columns,
        col_order=study.panels, facet_kws={"sharex": False, "sharey": False},
    )  # fmt: skip
    for metric, axes in grid.axes_dict.items():
        if metric in tables:
            panel(axes, study, metric, tables[metric], style["colours"], columns)
        else:
            axes.axis("off")
            axes.text(0.5, 0.5, f"{METRICS[metric].label}:\nnot computed in this run", ha="center", va="center")
    legend(grid.figure, style, table["look"].unique(), columns + 1)
    return grid.figure, table


def panel(axes, study: Results, metric: str, table: pd.DataFrame, colours: dict, columns: int) -> None:
    """To the attacks' lines: baselines with their bands, bounds, limits, labels, the axis in epsilon."""
    low, high = limits(metric, table)
    least = low / 10 if metric == "mse" else -np.inf  # where a floor of 0 is on a logarithmic axis
    for name in (*BASELINES, *BOUNDS):
        rows = table[table["look"] == name].assign(value=lambda rows: rows["value"].clip(lower=least))
        axes.plot(rows["mu"], rows["value"], color=colours[name], linewidth=0.9, linestyle=(0, LOOKS[name].dash))
        if name in BASELINES:
            axes.fill_between(rows["mu"], rows["low"], rows["high"], color=colours[name], alpha=0.1, linewidth=0)
    if metric == "mse":
        axes.set_yscale("log")
    axes.set_ylim(low, high)
    higher = METRICS[metric].higher_is_better
    axes.set_ylabel(f"{METRICS[metric].label}  ({'↑' if higher else '↓'} closer to target)")
    mu_axis(axes, study)
    epsilon_axis(axes, study, columns)
