"""Error against effective mu, for images out of gradients and after simple releases; and how many come apart."""

import numpy as np
import pandas as pd

from vpaudit.base import stats
from vpaudit.report.figures.panels import intervals, legend, lines, log_axis, read

DESIGNS = {"fowl": "Fowl et al.", "sparse": "Fowl et al., sparse", "trap": "Boenisch et al."}
PANELS = ("MSE of the posterior mean", "image's share of the clipped gradient", "images that come apart")


def draw(results, style: dict):
    table = read(results, "experiments/gradients")
    wide = table[table["metric"] != "separable"].pivot_table(
        index=["design", "batch", "strength", "mu", "image"], columns="metric", values="value"
    )
    wide = wide.reset_index().assign(effective=lambda t: t["mu"] * t["share"])
    edges = np.geomspace(wide["effective"].clip(lower=0.2).min(), wide["effective"].max() * 1.001, 13)
    tables = []
    for design in DESIGNS:
        rows = table[table["design"] == design]
        share = intervals(rows[rows["metric"] == "share"], ["design", "strength", "batch"])
        alone = intervals(rows[rows["metric"] == "separable"], ["design", "batch"])
        tables += binned(wide[wide["design"] == design], edges)
        tables += [share.assign(quantity="share"), alone.assign(quantity="separable")]
    numbers = pd.concat(tables, ignore_index=True)
    places = {"mse": "effective", "share": "strength", "separable": "batch"}
    least = (numbers["quantity"] != "share") | (numbers["batch"] == numbers["batch"].min())
    parts = [
        numbers[(numbers["quantity"] == quantity) & least].assign(x=numbers[x], panel=panel)
        for (quantity, x), panel in zip(places.items(), PANELS)
    ]
    shown = pd.concat(parts).replace({"design": DESIGNS})
    grid = lines(shown, "x", "design", style, 0.4, order=DESIGNS.values(), col="panel", sharex=False, sharey=False)
    error, share, alone = grid.axes.flat
    for _, rows in shown[shown["panel"] == PANELS[0]].groupby("design"):
        error.plot(rows["x"], rows["simple"], color="black", linewidth=0.7, linestyle=":", label="simple release")
    error.set(xscale="log", yscale="log", xlabel="effective µ = share × C/σ")
    log_axis(share, table["strength"], "strength of the imprint")
    log_axis(alone, table["batch"], "images in the batch")
    alone.set(ylim=(0, 1.03))
    return legend(grid.figure, 4), numbers


def binned(rows: pd.DataFrame, edges: np.ndarray) -> list[pd.DataFrame]:
    """Mean error by bin of effective mu, a table of one row a bin; `simple` is that after a simple release."""
    tables = []
    for bin_, part in rows.groupby(np.digitize(rows["effective"], edges)):
        pair = part[["mse", "mse_simple"]].to_numpy()
        value, low, high = stats.bootstrap(pair[:, 0])
        row = {
            "design": part["design"].iloc[0],
            "effective": float(np.exp(np.log(part["effective"]).mean())),
            "bin": bin_,
        }
        row |= {"value": float(value), "low": float(low), "high": float(high), "n": len(part)}
        tables.append(pd.DataFrame([{**row, "simple": pair[:, 1].mean(), "quantity": "mse"}]))
    return tables
