"""How much the prior decides: the same observations read with better and worse knowledge of what images look like."""

import numpy as np
import pandas as pd
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from vpaudit.base.labels import LABELS, METRICS
from vpaudit.report.figures import style as styles
from vpaudit.report.figures.axes import epsilon_axis, legend, lines, mu_axis
from vpaudit.report.results import Results

LADDER = ("true_class", "unconditional", "wrong_class")
OUTSIDE = (("gaussian", "wiener"), ("none", "raw"))  # no class, and no sampler either
TICKS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.2, 1.5, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50, 100)


def draw(results, style: dict):
    """A row an attack, a column a metric: the loss relative to the prior that knows no class.

    The priors differ by less than the images do, so a ratio over the same images is what shows a difference.
    """
    study = Results(results)
    attacks = ["posterior_mean"]
    if any(len(study.grid(p, "ddim", "mse")) for p in ("true_class", "wrong_class")):
        attacks.append("ddim")
    table = pd.concat([_ratios(study, a, m) for a in attacks for m in study.measured], ignore_index=True)
    row, col, shared, share = "reference", "metric", "row", 0.1 + 0.38 * len(attacks)
    narrow = styles.narrow(style)  # a column an attack, a row a metric
    if narrow:
        row, col, shared, share = col, row, "col", 0.2 + 0.55 * len(study.measured)
    grid = lines(table, style, share, "prior", row=row, col=col, facet_kws={"sharex": False, "sharey": shared})
    for names, axes in grid.axes_dict.items():
        reference, metric = names[::-1] if narrow else names
        _labels(axes, study, reference, metric, narrow)
    for reference, rows in table.groupby("reference"):
        place = (study.measured[0], reference) if narrow else (reference, study.measured[0])
        _ratio_axis(grid.axes_dict[place], rows["low"].min(), rows["high"].max())
    legend(grid.figure, style, table["prior"].unique(), 2 if narrow else 5)
    return grid.figure, table


def _ratios(study: Results, attack: str, metric: str) -> pd.DataFrame:
    """Loss by prior and mu relative to the prior that knows no class, with the metric itself beside it."""
    base, tables = ("unconditional", attack), []
    for pair in [(prior, attack) for prior in LADDER] + list(OUTSIDE):
        ratio = study.ratio(pair, base, metric)
        if len(ratio):
            absolute = study.curve(*pair, metric).rename(columns=lambda k: k if k in ("mu", "n") else f"metric_{k}")
            tables.append(ratio.merge(absolute, on=["mu", "n"]).assign(prior=pair[0], attack=pair[1]))
    return pd.concat(tables, ignore_index=True).assign(metric=metric, reference=".".join(base))


def _labels(axes, study: Results, reference: str, metric: str, narrow: bool) -> None:
    """Title, axes and their labels, by where the panel is in the grid."""
    place, name = axes.get_subplotspec(), METRICS[metric].label
    mu_axis(axes, study, label=place.is_last_row())
    if place.is_first_row():
        epsilon_axis(axes, study, place.get_gridspec().ncols)
    if place.is_first_row() or narrow:
        axes.set_title(f"1 − {name}" if METRICS[metric].higher_is_better else name, pad=8)
    if place.is_first_col() or narrow:
        axes.set_ylabel(f"{LABELS[reference.split('.')[1]]}:\nerror relative to no class known")


def _ratio_axis(axes, low: float, high: float) -> None:
    """Logarithmic, labelled with plain ratios that do not crowd."""
    axes.set_yscale("log")
    low, high = low / 1.06, high * 1.06
    kept, gap = [1.0], 0.06 * np.log(high / low)
    for tick in sorted(TICKS, key=lambda t: abs(np.log(t))):
        if low <= tick <= high and all(abs(np.log(tick / other)) >= gap for other in kept):
            kept.append(tick)
    axes.set_ylim(low, high)
    axes.yaxis.set_major_locator(FixedLocator(sorted(kept)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
