"""What figures of experiments share: tables, intervals over images, lines with bands, legends."""

from pathlib import Path

import numpy as np
import pandas as pd

from vpaudit.base import stats
from vpaudit.base.errors import VpauditError

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#999999", "#000000")


MARKERS = "osD^vxP*+"


def read(results: Path, name: str, folder: str = "experiments") -> pd.DataFrame:
    """The table of an experiment, or of a benchmark."""
    path = Path(results) / folder / f"{name}.parquet"
    if not path.exists():
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
            value, low, high = stats.bootstrap(pair, lambda p: p[:, 0].mean() / p[:, 1].mean())
        found.append((*key, float(value), float(low), float(high), len(values)))
    return pd.DataFrame(found, columns=[*keys, "value", "low", "high", "n"])


def line(axes, rows: pd.DataFrame, x: str, label: str, number_: int, dash: str = "-") -> None:
    """value over x with its band from low to high; `number_` chooses colour and marker."""
    rows, colour = rows.sort_values(x), PALETTE[number_ % len(PALETTE)]
    axes.plot(
        rows[x], rows["value"], color=colour, marker=MARKERS[number_ % len(MARKERS)], markersize=2.6, linestyle=dash,
        label=label,
    )  # fmt: skip
    axes.fill_between(rows[x], rows["low"], rows["high"], color=colour, alpha=0.18, linewidth=0)


def log_axis(axes, values, label: str, shown=None) -> None:
    """Logarithmic x with ticks at these values."""
    values = sorted(set(values))
    axes.set_xscale("log")
    axes.set_xticks(values, [f"{v:g}" if shown is None or v in shown else "" for v in values])
    axes.minorticks_off()
    axes.set_xlabel(label)


def legend(figure, panels, columns: int) -> None:
    """One legend below all panels, each label once."""
    entries = {}
    for axes in np.asarray(panels).flat:
        entries |= {label: handle for handle, label in zip(*axes.get_legend_handles_labels())}
    figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=columns, frameon=False)
