"""Success estimated from agreement between draws, without the target, against what was really achieved."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from vpaudit import stats
from vpaudit.figures.study import METRICS, Study, mu_axis


def draw(study: Study, style: dict):
    """Above: one point an image, coloured by mu; below: rank correlation within each mu."""
    metrics = [m for m in study.measured if (study.agreement["metric"] == m).any()]
    figure, panels = plt.subplots(2, len(metrics), figsize=(style["width"], 0.72 * style["width"]), squeeze=False)
    colours = plt.get_cmap("viridis")(np.linspace(0, 0.92, len(study.mu)))
    tables = []
    for column, metric in enumerate(metrics):
        rows = study.agreement[study.agreement["metric"] == metric]
        _scatter(panels[0, column], rows, metric, study.mu, colours)
        tables += [
            rows.assign(kind="image"),
            _correlations(panels[1, column], rows, study, colours).assign(metric=metric),
        ]
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(study.mu) + 1, frameon=False, markerscale=2)
    return figure, pd.concat(tables, ignore_index=True)


def _scatter(axes, rows: pd.DataFrame, metric: str, grid: list[float], colours) -> None:
    for mu, colour in zip(grid, colours):
        at = rows[np.isclose(rows["mu"], mu)]
        axes.scatter(at["agreement"], at["achieved"], s=4, color=colour, alpha=0.7, linewidths=0, label=f"µ = {mu:g}")
    low = min(rows["agreement"].min(), rows["achieved"].min())
    high = max(rows["agreement"].max(), rows["achieved"].max())
    axes.plot([low, high], [low, high], color="#000000", linewidth=0.7, linestyle="--", label="calibrated posterior")
    if metric == "mse":
        axes.set_xscale("log")
        axes.set_yscale("log")
    name = METRICS[metric][0]
    axes.set_title(name)
    axes.set_xlabel("agreement between draws (estimated)")
    axes.set_ylabel("draws against target (achieved)")


def _correlations(axes, rows: pd.DataFrame, study: Study, colours) -> pd.DataFrame:
    found = []
    for mu in study.mu:
        at = rows[np.isclose(rows["mu"], mu)]
        value, low, high = stats.rank_correlation(
            at["agreement"].to_numpy(), at["achieved"].to_numpy(), study.config["seed"]
        )
        found.append({"mu": mu, "value": value, "low": low, "high": high, "n": len(at), "kind": "rank correlation"})
    table = pd.DataFrame(found)
    axes.vlines(table["mu"], table["low"], table["high"], colors=colours, linewidth=1.5)
    axes.scatter(table["mu"], table["value"], c=colours, s=14, zorder=3)
    axes.axhline(0, color="#000000", linewidth=0.6)
    mu_axis(axes, study)
    axes.set_ylim(min(-0.3, table["low"].min() - 0.05), 1)
    axes.set_ylabel("Spearman ρ within µ, 95 %")
    return table
