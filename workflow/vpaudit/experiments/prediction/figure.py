"""Mean error of an attack against its prediction from images that were not attacked; a point a (prior, mu)."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from vpaudit.base.labels import LABELS
from vpaudit.report.figures.panels import DOTTED, intervals, legend, panels, read

SOURCES = {"reference": "from training images", "prior": "from the prior's own images"}
KEYS = ["prior", "attack", "mu"]


def draw(results, style: dict):
    table, apart = read(results, "experiments/prediction"), read(results, "experiments/distances")
    achieved = intervals(table[table["source"] == "targets"], KEYS)
    tables, points = [], []
    for source, title in SOURCES.items():
        found = intervals(table[table["source"] == source], KEYS).set_index(KEYS)
        against = achieved.set_index(KEYS)[["value", "low", "high"]].add_prefix("achieved_")
        both = found.join(against, how="inner").reset_index()
        tables += [both.assign(source=source, quantity="MSE"), fit_rows(source, both, both["value"])]
        r2, within, worst = fit(both, both["value"])
        points.append(both.assign(panel=f"{title}\nR² {r2:.3f}, within a µ {within:.3f}, worst {100 * worst:.0f} %"))
    one = achieved.query("attack == 'posterior_mean'").rename(columns={"value": "achieved_value"})
    tables += [fit_rows(kind, one, by_distance(one, rows)) for kind, rows in apart.groupby("metric", sort=False)]
    shown = pd.concat(points)
    label = shown["prior"].map(lambda name: LABELS.get(name, name)) + ", " + shown["attack"].map(LABELS)
    grid = panels(shown.assign(label=label), "label", style, 0.5, col="panel", dashed=label.unique())
    grid.map(plt.plot, "value", "achieved_value", markersize=3, linewidth=0)
    ends = [shown["value"].min() * 0.9, shown["value"].max() * 1.1]
    for axes in grid.axes.flat:
        axes.plot(ends, ends, **DOTTED)
    grid.set(xscale="log", yscale="log").set_axis_labels("predicted MSE", "achieved MSE")
    return legend(grid.figure, 3), pd.concat(tables, ignore_index=True)


def fit(both: pd.DataFrame, predicted: pd.Series) -> tuple[float, float, float]:
    """R² of log MSE, the same within a mu (which alone explains most of it), and the worst relative error."""
    logs = np.log(both["achieved_value"])
    missed = ((logs - np.log(predicted)) ** 2).sum()
    worst = float((predicted / both["achieved_value"] - 1).abs().max())
    around = ((logs - logs.groupby(both["mu"]).transform("mean")) ** 2).sum()
    return float(1 - missed / ((logs - logs.mean()) ** 2).sum()), float(1 - missed / around), worst


def fit_rows(source: str, both: pd.DataFrame, predicted: pd.Series) -> pd.DataFrame:
    names = ("R2 of log MSE", "R2 within a mu", "worst relative error")
    rows = pd.DataFrame({"quantity": names, "value": fit(both, predicted)})
    return rows.assign(source=source, n=len(both))


def by_distance(one: pd.DataFrame, distances: pd.DataFrame) -> pd.Series:
    """MSE predicted from a prior's distance to the images: at each mu a line in log distance, fitted to these points.

    Fitted and judged on the same points, which flatters it.
    """
    logs = np.log(one["prior"].map(distances.set_index("prior")["value"]).clip(lower=1e-6))
    centre = one["mu"].map(np.log(one["achieved_value"]).groupby(one["mu"]).mean())
    offset = logs - logs.groupby(one["mu"]).transform("mean")
    slope = (offset * (np.log(one["achieved_value"]) - centre)).sum() / (offset**2).sum()
    return np.exp(centre + slope * offset)
