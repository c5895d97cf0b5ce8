"""What is recognised over mu in attacks of one or several studies: shares with intervals, their ends, the figure."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vpaudit.base import stats
from vpaudit.base.labels import LABELS
from vpaudit.privacy.rero import gamma_of_mu
from vpaudit.report.figures import panels
from vpaudit.report.figures.panels import DOTTED, MU

ATTACKS = ("posterior_mean", "ddim", "posterior_mean_untold")
BY = {"mse": "MSE; class", "lpips": "LPIPS", "class": "MSE; class"}  # a class has a panel of its own
KEYS = ["metric", "attack", "told", "among"]
DASHED = {**DOTTED, "linestyle": "--", "linewidth": 0.9}


def shares(table: pd.DataFrame) -> pd.DataFrame:
    """metric, attack, told, among, mu, value, low, high, n; guess, and bound: the most that an adversary reaches.

    The bound is reconstruction robustness for the baseline of guessing. That of an image among n holds if nothing else
    is told; who is told lambda may guess by the norm, which is measured for classes and not for images, where `bound`
    is therefore missing.

    Args:
        table: of the experiment `recognition`.
    """
    rows = [
        {**dict(zip((*KEYS, "mu"), key)), **stats.counted(some["value"].to_numpy()), "n": len(some)}
        for key, some in table[table["metric"].isin(BY)].groupby([*KEYS, "mu"], sort=False)
    ]
    found = pd.DataFrame(rows)
    blind = table[table["metric"] == "class_guessed"].groupby("told")["value"].mean()
    found["guess"] = np.where(found["among"] > 0, 1 / found["among"].clip(lower=1), found["told"].map(blind))
    found["bound"] = gamma_of_mu(found["mu"], found["guess"])
    return found.assign(bound=found["bound"].where(~found["told"].astype(bool) | (found["metric"] == "class")))


def ends(found: pd.DataFrame) -> pd.DataFrame:
    """`KEYS`, n, guess; hidden: the largest mu where no more than guessing is shown; seen: the smallest where it is.

    Shown: the lower 95 % limit is above guessing. NaN: at no mu asked. at_5, low, high: the share named at mu = 5.
    """
    rows = []
    for key, some in found.groupby(KEYS, sort=False):
        shown = some["low"] > some["guess"]
        limits = {"hidden": some.loc[~shown, "mu"].max(), "seen": some.loc[shown, "mu"].min()}
        at_5 = some[np.isclose(some["mu"], 5)].rename(columns={"value": "at_5"})[["at_5", "low", "high"]]
        about = {"n": some["n"].iloc[0], "guess": some["guess"].iloc[0], **limits}
        rows.append({**dict(zip(KEYS, key)), **about, **next(iter(at_5.to_dict("records")), {})})
    return pd.DataFrame(rows)


def numbers(found: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """For the figure's CSV file: quantity is `share`; `hidden` or `seen`, whose value is a mu; or `class_of_image`.

    Args:
        found: of `shares`; table: of the experiment.
    """
    limits = ends(found).melt([*KEYS, "n", "guess"], ["hidden", "seen"], var_name="quantity")
    own = table.loc[table["metric"] == "class_of_image", "value"].to_numpy()
    ceiling = [{"quantity": "class_of_image", **stats.counted(own), "n": len(own)}] * (len(own) > 0)
    return pd.concat([found.assign(quantity="share"), limits, pd.DataFrame(ceiling)], ignore_index=True)


def draw(found: pd.DataFrame, style: dict) -> Figure:
    """Rows studies (column `study`), columns the image among n, then the class; over mu, with guessing and bound."""
    names = {n: f"the image among {n:,}" for n in sorted(found["among"].unique()) if n} | {0: "its class"}
    looks = {_line(attack, by): k for k, attack in enumerate(ATTACKS) for by in ("mse", "lpips")}
    lines = [_line(*pair) for pair in zip(found["attack"], found["metric"])]
    order = {line: k for line, k in looks.items() if line in lines}
    shown = found.assign(line=lines, panel=found["among"].map(names))
    wanted = [name for name in names.values() if name in set(shown["panel"])]
    grid = panels.lines(
        shown, "mu", "line", style, 0.12 + 0.24 * found["study"].nunique(), order=order, row="study", col="panel",
        col_order=wanted, dashed=[line for line in order if line.endswith("LPIPS")],
    )  # fmt: skip
    for (study, name), axes in grid.axes_dict.items():
        _panel(axes, shown[(shown["study"] == study) & (shown["panel"] == name)])
    panels.row_labels(grid, {s: f"{s}\nshare named".strip() for s in found["study"].unique()})
    for column in grid.axes.T:
        last = [axes for axes in column if axes.axison][-1]
        last.tick_params(labelbottom=True)
        last.set_xlabel(MU)
    return panels.legend(grid.figure, 3)


def _panel(axes, rows: pd.DataFrame) -> None:
    """Guessing, by who is told most, and the bound for it."""
    if rows.empty:
        return axes.axis("off")
    mu, guess = np.geomspace(rows["mu"].min(), rows["mu"].max(), 200), rows["guess"].max()
    panels.log_axis(axes, rows["mu"], shown=panels.some(rows["mu"]))
    panels.level(axes, guess, "guessing")
    axes.plot(mu, gamma_of_mu(mu, guess), label="most that any adversary reaches", **DASHED)
    axes.set_ylim(-0.03, 1.03)


def _line(attack: str, metric: str) -> str:
    return f"{LABELS[attack]}: {BY[metric]}"
