"""A row a metric, a column a mu: quality against network evaluations, a line a method; ours solid, peers dashed.

Of a long grid every other mu is drawn; the CSV file has them all.
"""

import numpy as np
import pandas as pd
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from vpaudit.base.labels import METRICS
from vpaudit.report.figures.panels import intervals, legend, lines, log_axis, read, row_labels, some


def draw(results, style: dict):
    table = read(results, "benchmarks/peers")
    table = table[table["metric"].isin(["mse", "ssim", "lpips_vgg_64"])]
    values = intervals(table, ["metric", "mu", "method", "ours", "calls", "seconds"])
    peers = values.loc[~values["ours"], "method"].unique()
    grid = lines(
        values[values["mu"].isin(some(table["mu"]))], "calls", "method", style, 0.95, dashed=peers,
        row="metric", col="mu", title="µ = {col_name:g}", sharey=False,
    )  # fmt: skip
    for metric, row in zip(grid.row_names, grid.axes):
        for axes in row:
            if not METRICS[metric].higher_is_better:  # the worst are ten times the best
                axes.set_yscale("log")
                axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
                axes.yaxis.set_minor_formatter(NullFormatter())
    log_axis(grid.axes[-1], table["asked"], "network evaluations", shown=(1, 3, 6, 10, 20))
    row_labels(grid, {name: metric.label for name, metric in METRICS.items()})
    return legend(grid.figure, 5), pd.concat([values, contest(table)], ignore_index=True)


def contest(table: pd.DataFrame) -> pd.DataFrame:
    """Who is ahead, by metric and mu: ratios of means over the same images, with interval.

    "best peer / ours": the best peer of those asked for a number of calls, over the best of ours that makes no more
    calls than it made. "time / ours": of the fastest peer whose mean is at least as good as our best; NaN where none
    is. `method` names the peer. Both sides are chosen by their means, after the fact.
    """
    rows = []
    for (metric, mu), here in table.groupby(["metric", "mu"], sort=False):
        sign = -1 if METRICS[metric].higher_is_better else 1
        runs = here.groupby(["method", "ours", "asked", "calls", "seconds"], sort=False)["value"].mean().reset_index()
        runs["loss"] = sign * runs["value"]
        ours, theirs = runs[runs["ours"]], runs[~runs["ours"]]
        for asked, those in theirs.groupby("asked"):
            best = those.loc[those["loss"].idxmin()]
            mine = ours[ours["calls"] <= best["calls"]]
            pair = [_run(here, run) for run in (best, mine.loc[mine["loss"].idxmin()])]
            ratio = intervals(pair[0], ["mu"], pair[1]).iloc[0].to_dict()
            about = {"quantity": "best peer / ours", "metric": metric, "calls": asked, "method": best["method"]}
            rows.append({**about, **ratio})
        top = ours.loc[ours["loss"].idxmin()]
        as_good = theirs[theirs["loss"] <= top["loss"]].sort_values("seconds")
        name, ratio = ("none", np.nan) if as_good.empty else as_good[["method", "seconds"]].iloc[0]
        about = {"quantity": "time / ours", "metric": metric, "method": name, "n": here["image"].nunique()}
        rows.append({**about, "mu": mu, "value": ratio / top["seconds"]})
    return pd.DataFrame(rows)


def _run(table: pd.DataFrame, run: pd.Series) -> pd.DataFrame:
    """The rows of one method at one number of calls."""
    return table[(table["method"] == run["method"]) & (table["asked"] == run["asked"])]
