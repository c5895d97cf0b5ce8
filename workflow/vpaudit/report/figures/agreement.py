"""Success estimated from agreement between posterior samples, without the target, against what was really achieved."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns

from vpaudit.base.errors import VpauditError
from vpaudit.base.labels import METRICS
from vpaudit.report.figures import style as styles
from vpaudit.report.figures.axes import epsilon_axis, laid_out, mu_axis
from vpaudit.report.results import Results

IMAGE, RHO = "image", "rank correlation"  # kinds of rows
Y_LABELS = {
    IMAGE: "samples against target\n(achieved)",
    RHO: "Spearman ρ over images\nwithin one µ, 95 % interval",
}


def draw(results, style: dict):
    """Above: one point an image, coloured by mu; below: rank correlation within each mu."""
    study = Results(results)
    metrics = [m for m in study.measured if (study.agreement["metric"] == m).any()]
    if not metrics:
        raise VpauditError("consistency.parquet holds no samples to compare", "give `ddpm` at least two draws")
    table = pd.concat([rows for metric in metrics for rows in _numbers(study, metric)], ignore_index=True)
    narrow = styles.narrow(style)  # a row a metric, instead of a column
    row, col, share = ("metric", "kind", 0.2 + 0.55 * len(metrics)) if narrow else ("kind", "metric", 0.78)
    colours = dict(zip(study.mu, sns.color_palette(style["mu_map"], len(study.mu))))
    with plt.rc_context({"figure.constrained_layout.use": False}):
        grid = sns.FacetGrid(table, row=row, col=col, sharex=False, sharey=False)
    laid_out(grid, style, share)
    for names, axes in grid.axes_dict.items():
        metric, kind = names if narrow else names[::-1]
        rows = table[(table["metric"] == metric) & (table["kind"] == kind)]
        (_scatter if kind == IMAGE else _correlations)(axes, rows, colours)
        if kind == RHO:
            axes.set_ylim(min(-0.25, np.floor(10 * table["low"].min()) / 10), 1.02)
            mu_axis(axes, study)
            epsilon_axis(axes, study, axes.get_subplotspec().get_gridspec().ncols)
        if narrow or metric == metrics[0]:
            axes.set_ylabel(Y_LABELS[kind])
        elif kind == RHO:
            axes.tick_params(labelleft=False)
    handles, labels = grid.axes.flat[0].get_legend_handles_labels()
    columns = 3 if narrow else -(-len(labels) // 2) if len(labels) > 6 else len(labels)
    grid.figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, markerscale=2)
    return grid.figure, table


def _numbers(study: Results, metric: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Estimated and achieved success of each image, and their rank correlation by mu."""
    rows = study.agreement[study.agreement["metric"] == metric]
    return rows.assign(kind=IMAGE), study.rank_correlations(metric).assign(metric=metric, kind=RHO)


def _scatter(axes, rows: pd.DataFrame, colours: dict) -> None:
    for mu, colour in colours.items():
        at = rows[np.isclose(rows["mu"], mu)]
        axes.scatter(at["agreement"], at["achieved"], s=5, color=colour, alpha=0.7, linewidths=0, label=f"µ = {mu:g}")
    both, metric = rows[["agreement", "achieved"]], rows["metric"].iloc[0]
    span = [both.min().min(), both.max().max()]
    axes.plot(span, span, color="black", linewidth=0.7, linestyle="--", label="estimate = achieved")
    if metric == "mse":
        axes.set(xscale="log", yscale="log")
    arrow = "↑" if METRICS[metric].higher_is_better else "↓"
    axes.set(title=f"{METRICS[metric].label}  ({arrow} closer)", xlabel="between samples (estimated)")


def _correlations(axes, rows: pd.DataFrame, colours: dict) -> None:
    shades = [colours[mu] for mu in rows["mu"]]
    axes.vlines(rows["mu"], rows["low"], rows["high"], colors=shades, linewidth=1.5)
    axes.scatter(rows["mu"], rows["value"], c=shades, s=14, zorder=3)
    axes.axhline(0, color="black", linewidth=0.6)
