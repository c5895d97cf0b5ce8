"""Success estimated from agreement between draws, without the target, against what was really achieved."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from vpaudit.base.errors import VpauditError
from vpaudit.base.labels import METRICS
from vpaudit.report.figures import style as styles
from vpaudit.report.figures.axes import epsilon_axis, mu_axis
from vpaudit.report.results import Study


def draw(results, style: dict):
    """Above: one point an image, coloured by mu; below: rank correlation within each mu."""
    study = Study(results)
    metrics = [m for m in study.measured if (study.agreement["metric"] == m).any()]
    if not metrics:
        raise VpauditError("consistency.parquet holds no draws to compare", "give `ddpm` at least two draws")
    narrow = styles.narrow(style)  # a row a metric, instead of a column
    shape, share = ((len(metrics), 2), 0.2 + 0.55 * len(metrics)) if narrow else ((2, len(metrics)), 0.78)
    figure, panels = plt.subplots(*shape, figsize=styles.size(style, share), squeeze=False)
    panels = panels.T if narrow else panels
    colours = plt.get_cmap(style["mu_map"])(np.linspace(0, 0.92, len(study.mu)))
    tables = []
    for column, metric in enumerate(metrics):
        rows = study.agreement[study.agreement["metric"] == metric]
        _scatter(panels[0, column], rows, metric, study.mu, colours)
        found = _correlations(panels[1, column], metric, study, colours)
        epsilon_axis(panels[1, column], study, shape[1])
        tables += [rows.assign(kind="image"), found.assign(metric=metric, kind="rank correlation")]
    for achieved, rho in panels.T[: len(metrics) if narrow else 1]:
        achieved.set_ylabel("draws against target\n(achieved)")
        rho.set_ylabel("Spearman ρ over images\nwithin one µ, 95 % interval")
    lowest = min(table["low"].min() for table in tables[1::2])
    for axes in panels[1]:
        axes.set_ylim(min(-0.25, np.floor(10 * lowest) / 10), 1.02)
    for axes in panels[1, 1:] if not narrow else ():
        axes.tick_params(labelleft=False)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    columns = 3 if narrow else -(-len(labels) // 2) if len(labels) > 6 else len(labels)
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, markerscale=2)
    return figure, pd.concat(tables, ignore_index=True)


def _scatter(axes, rows: pd.DataFrame, metric: str, grid: list[float], colours) -> None:
    for mu, colour in zip(grid, colours):
        at = rows[np.isclose(rows["mu"], mu)]
        axes.scatter(at["agreement"], at["achieved"], s=5, color=colour, alpha=0.7, linewidths=0, label=f"µ = {mu:g}")
    both = rows[["agreement", "achieved"]]
    span = [both.min().min(), both.max().max()]
    axes.plot(span, span, color="#000000", linewidth=0.7, linestyle="--", label="estimate = achieved")
    if metric == "mse":
        axes.set_xscale("log")
        axes.set_yscale("log")
    arrow = "↑" if METRICS[metric].higher_is_better else "↓"
    axes.set_title(f"{METRICS[metric].label}  ({arrow} closer)")
    axes.set_xlabel("between draws (estimated)")


def _correlations(axes, metric: str, study: Study, colours) -> pd.DataFrame:
    table = study.rank_correlations(metric)
    axes.vlines(table["mu"], table["low"], table["high"], colors=colours, linewidth=1.5)
    axes.scatter(table["mu"], table["value"], c=colours, s=14, zorder=3)
    axes.axhline(0, color="#000000", linewidth=0.6)
    mu_axis(axes, study)
    return table
