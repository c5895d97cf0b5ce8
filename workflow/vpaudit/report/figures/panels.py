"""Grids of panels by seaborn, for tables whose value has an interval of its own: columns value, low, high.

seaborn computes intervals itself, from the raw values of one column. Those of this repository are paired or of ratios,
so they are computed before, and a panel draws them.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vpaudit.base import stats
from vpaudit.base.errors import VpauditError
from vpaudit.report.figures import style as styles

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#999999", "#000000")
MARKERS = "osD^vxP*+<"
DOTTED = {"color": "black", "linewidth": 0.7, "linestyle": ":"}  # a line to compare with
MU = "µ = C/σ"


def read(results: Path, name: str) -> pd.DataFrame:
    """A table of a study by its name below results/<study>/, e.g. "experiments/calls"."""
    path = Path(results) / f"{name}.parquet"
    if not path.exists():
        folder = path.parent.name if path.parent != Path(results) else name
        raise VpauditError(f"{path} does not exist", f"run `snakemake {folder}`, which makes it")
    return pd.read_parquet(path)


def intervals(table: pd.DataFrame, keys: list[str], base: pd.DataFrame | None = None) -> pd.DataFrame:
    """keys, value, low, high, n: mean over images with its 95 % interval.

    Args:
        base: rows to divide by, paired by image (and mu): value is then a ratio of means over the same images.
    """
    found = []
    for key, rows in table.groupby(keys, sort=False):
        values = rows.groupby("image")["value"].mean()
        if base is None:
            value, low, high = stats.bootstrap(values.to_numpy())
        else:
            mu = dict(zip(keys, key)).get("mu")
            same = base if mu is None else base[np.isclose(base["mu"], mu)]
            pair = pd.concat([values, same.groupby("image")["value"].mean()], axis=1, join="inner").to_numpy()
            value, low, high = stats.ratio(*pair.T)
        found.append((*key, float(value), float(low), float(high), len(values)))
    return pd.DataFrame(found, columns=[*keys, "value", "low", "high", "n"])


def scaled(table: pd.DataFrame, factor: float) -> pd.DataFrame:
    """The table with value, low and high times a factor."""
    return table.assign(**{name: table[name] * factor for name in ("value", "low", "high")})


class Panels(sns.FacetGrid):
    """A FacetGrid whose layout is that of the study's style."""

    def tight_layout(self, *_, **__) -> "Panels":
        return self


def panels(
    table: pd.DataFrame, hue: str, style: dict, share: float, *, order: Iterable[str] | Mapping[str, int] | None = None,
    dashed: Iterable[str] = (), title: str = "{col_name}", **facets,
) -> Panels:  # fmt: skip
    """Empty panels that give each value of `hue` a colour and a marker.

    Args:
        hue: column of labels, as the legend shows them.
        share: height of the figure over its width.
        order: the labels in order; or label -> number of its colour and marker, where several share one.
        dashed: labels whose lines are dashed.
        title: above a column, e.g. "µ = {col_name:g}".
        facets: row, col, col_wrap, sharex and others of seaborn's FacetGrid.
    """
    labels = list(table[hue].unique() if order is None else order)
    looks = order if isinstance(order, Mapping) else {label: place for place, label in enumerate(labels)}
    grid = Panels(
        table, hue=hue, hue_order=labels, palette=[PALETTE[k % len(PALETTE)] for k in looks.values()],
        hue_kws={
            "marker": [MARKERS[k % len(MARKERS)] for k in looks.values()],
            "linestyle": ["--" if name in dashed else "-" for name in looks],
        },
        margin_titles="row" in facets, **facets,
    )  # fmt: skip
    grid.figure.set_size_inches(styles.size(style, share))
    return grid.set_titles(title, col_template=title, row_template="")


def lines(table: pd.DataFrame, x: str, hue: str, style: dict, share: float, **options) -> Panels:
    """`panels` with value over `x` as a line a hue, in a band from low to high."""
    return panels(table, hue, style, share, **options).map_dataframe(band, x).set_axis_labels("", "")


def band(x: str, data: pd.DataFrame, color: str, label: str, marker: str = "o", linestyle: str = "-") -> None:
    """value over x with its band from low to high, in the current axes."""
    rows, axes = data.sort_values(x), plt.gca()
    axes.plot(rows[x], rows["value"], color=color, marker=marker, markersize=2.6, linestyle=linestyle, label=label)
    axes.fill_between(rows[x], rows["low"], rows["high"], color=color, alpha=0.18, linewidth=0)


def level(axes: Axes | Iterable[Axes], y: float, label: str | None = None) -> None:
    """A dotted line to compare with, at a height that means something: 1 of a ratio, a guaranteed rate."""
    for each in np.atleast_1d(axes):
        each.axhline(y, label=label, **DOTTED)


def log_axis(axes: Axes | Iterable[Axes], values: Iterable[float], label: str = "", shown=None) -> None:
    """Logarithmic x with ticks at these values, of which all or those `shown` are labelled."""
    values = sorted(set(values))
    for each in np.atleast_1d(axes):
        each.set_xscale("log")
        each.set_xticks(values, [f"{v:g}" if shown is None or v in shown else "" for v in values])
        each.minorticks_off()
        each.set_xlabel(label)


def some(mus: Iterable[float]) -> list[float]:
    """The values of mu that get a column: all of a short grid, every other one of a long grid."""
    mus = sorted(set(mus))
    return mus if len(mus) <= 6 else mus[::2]


def row_labels(grid: Panels, names: Mapping[str, str]) -> None:
    """What each row shows, beside its first panel."""
    for axes, name in zip(grid.axes[:, 0], grid.row_names):
        axes.set_ylabel(names[name])


def legend(figure: Figure, columns: int) -> Figure:
    """One legend below all panels, each label once; returns the figure."""
    entries = {}
    for axes in figure.axes:
        entries |= {label: handle for handle, label in zip(*axes.get_legend_handles_labels())}
    figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=columns, frameon=False)
    return figure
