"""Metric against mu: attacks with 95 % intervals, both bounds as a corridor, unrelated images as a line."""

import numpy as np
import pandas as pd

from vpaudit.base import stats
from vpaudit.base.labels import LOOKS, METRICS
from vpaudit.report.figures import style as styles
from vpaudit.report.figures.axes import epsilon_axis, legend, lines, mu_axis
from vpaudit.report.results import ATTACKS, Results, curve_of

BOUNDS = ("uninformed", "rero")
OTHERS, UNRELATED = "ddim output against other targets", "unrelated test images"  # curves of the CSV


def draw(results, style: dict):
    """Four panels, one a metric; legend below all. A metric that could not be computed says so in its place."""
    study = Results(results)
    tables = {metric: _numbers(study, metric) for metric in study.panels if metric in set(study.metrics["metric"])}
    table = pd.concat(tables.values(), ignore_index=True)
    columns, share = (1, 2.5) if styles.narrow(style) else (2, 0.9)
    looks = table["curve"].map({f"{prior}.{attack}": attack for prior, attack in ATTACKS})
    grid = lines(
        table.assign(attack=looks)[looks.notna()], style, share, "attack", col="metric", col_wrap=columns,
        col_order=study.panels, facet_kws={"sharex": False, "sharey": False},
    )  # fmt: skip
    for metric, axes in grid.axes_dict.items():
        if metric in tables:
            _panel(axes, study, metric, tables[metric], style["colours"], columns)
        else:
            axes.axis("off")
            axes.text(0.5, 0.5, f"{METRICS[metric].label}:\nnot computed in this run", ha="center", va="center")
    names = [attack for _, attack in ATTACKS if attack in set(looks)] + ["unrelated", "others", *BOUNDS, "corridor"]
    legend(grid.figure, style, names, columns + 1, rero=f"ReRo, 1 of {study.candidates:,} candidates")
    return grid.figure, table


def _numbers(study: Results, metric: str) -> pd.DataFrame:
    """Everything a panel shows: curve, mu, value, low, high; the baseline of unrelated images has no mu."""
    value, low, high = (float(v) for v in stats.bootstrap(study.unrelated(metric).to_numpy()))
    columns = ["mu", "value", "low", "high"]
    parts = [
        *(study.curve(*pair, metric).assign(curve=".".join(pair)) for pair in ATTACKS),
        *(study.bound(name, metric)[columns].assign(curve=name) for name in reversed(BOUNDS)),
        pd.DataFrame({"curve": [UNRELATED], "value": [value], "low": [low], "high": [high]}),
        curve_of(study.others("ddim", metric)).assign(curve=OTHERS),
    ]
    return pd.concat([part for part in parts if len(part)], ignore_index=True).assign(metric=metric)


def _panel(axes, study: Results, metric: str, table: pd.DataFrame, colours: dict, columns: int) -> None:
    """To the attacks' lines: bounds with the corridor between them, baselines, limits, labels, the axis in epsilon."""
    values, higher = table[~table["curve"].isin(BOUNDS)], METRICS[metric].higher_is_better
    low, high = values["low"].min(), values["high"].max()
    if metric == "mse":
        attacks, unrelated = values[values["curve"].str.contains(".", regex=False)], values[values["curve"] != OTHERS]
        low, high = 0.6 * attacks["low"].min(), 2 * unrelated["high"].max()
        axes.set_yscale("log")
    else:
        low, high = min(0.0, low) - 0.03, max(1.0 if higher else 0.0, high) + 0.03
    _baselines(axes, table, colours["unrelated"])
    _bounds(axes, table, colours, low / 10 if metric == "mse" else -np.inf)
    axes.set_ylim(low, high)
    axes.set_ylabel(f"{METRICS[metric].label}  ({'↑' if higher else '↓'} closer to target)")
    mu_axis(axes, study)
    epsilon_axis(axes, study, columns)


def _baselines(axes, table: pd.DataFrame, colour: str) -> None:
    """Both forms of the baseline: test images against each other, and outputs against the targets of others."""
    line, others = (table[table["curve"] == name] for name in (UNRELATED, OTHERS))
    axes.axhspan(*line[["low", "high"]].iloc[0], color=colour, alpha=0.1, linewidth=0)
    axes.axhline(line["value"].iloc[0], color=colour, linewidth=0.9, linestyle=(0, LOOKS["unrelated"].dash))
    axes.plot(others["mu"], others["value"], color=colour, linewidth=0.9, linestyle=(0, LOOKS["others"].dash))
    axes.fill_between(others["mu"], others["low"], others["high"], color=colour, alpha=0.1, linewidth=0)


def _bounds(axes, table: pd.DataFrame, colours: dict, floor: float) -> None:
    """The two bounds, and where both exist the corridor between them; a zero is drawn at the floor of a log axis."""
    upper, lower = (table[table["curve"] == name].assign(value=lambda rows: rows["value"].clip(lower=floor))
                    for name in BOUNDS)  # fmt: skip
    for name, rows in zip(BOUNDS, (upper, lower)):
        axes.plot(rows["mu"], rows["value"], color=colours[name], linestyle=(0, LOOKS[name].dash), zorder=2)
    if len(lower) and len(upper):
        axes.fill_between(
            lower["mu"], lower["value"], upper["value"], color=colours["corridor"], alpha=0.28, linewidth=0, zorder=1
        )
