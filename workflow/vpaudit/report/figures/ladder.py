"""How much the prior decides: the same observations read with better and worse knowledge of what images look like."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from vpaudit.base.labels import LABELS, METRICS
from vpaudit.report.figures import style as styles
from vpaudit.report.figures.axes import epsilon_axis, mu_axis
from vpaudit.report.results import Study

LADDER = ("true_class", "unconditional", "wrong_class")
OUTSIDE = (("gaussian", "wiener"), ("none", "raw"))  # no class, and no sampler either
MARKERS = {"true_class": "v", "unconditional": None, "wrong_class": "o", "gaussian": "^", "none": "x"}
TICKS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.2, 1.5, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50, 100)


def draw(results, style: dict):
    """A row an attack, a column a metric: the loss relative to the prior that knows no class.

    The priors differ by less than the images do, so a ratio over the same images is what shows a difference.
    """
    study = Study(results)
    attacks = ["posterior_mean"]
    if any(len(study.grid(p, "ddim", "mse")) for p in ("true_class", "wrong_class")):
        attacks.append("ddim")
    narrow = styles.narrow(style)  # a column an attack, a row a metric
    shape, height = (len(attacks), len(study.measured)), 0.1 + 0.38 * len(attacks)
    if narrow:
        shape, height = shape[::-1], 0.2 + 0.55 * len(study.measured)
    share = "col" if narrow else "row"
    figure, panels = plt.subplots(*shape, figsize=styles.size(style, height), squeeze=False, sharey=share)
    panels = panels.T if narrow else panels
    tables = []
    for row, attack in enumerate(attacks):
        for axes, metric in zip(panels[row], study.measured):
            tables.append(_panel(axes, study, attack, metric, style["colours"], narrow))
        for axes in panels[row] if narrow else panels[row, :1]:
            axes.set_ylabel(f"{LABELS[attack]}:\nerror relative to no class known")
        _ratio_axis(panels[row, 0], [t for t in tables if (t["reference"] == f"unconditional.{attack}").all()])
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2 if narrow else 5, frameon=False)
    return figure, pd.concat(tables, ignore_index=True)


def _panel(axes, study: Study, attack: str, metric: str, colours: dict, narrow: bool) -> pd.DataFrame:
    base, tables = ("unconditional", attack), []
    for pair in [(prior, attack) for prior in LADDER] + list(OUTSIDE):
        ratio = study.ratio(pair, base, metric)
        if ratio.empty:
            continue
        colour = colours[pair[0]]
        axes.plot(
            ratio["mu"], ratio["value"], color=colour, marker=MARKERS[pair[0]], markersize=3.2, label=LABELS[pair[0]]
        )
        axes.fill_between(ratio["mu"], ratio["low"], ratio["high"], color=colour, alpha=0.22, linewidth=0)
        absolute = study.curve(*pair, metric).rename(columns=lambda k: k if k in ("mu", "n") else f"metric_{k}")
        tables.append(ratio.merge(absolute, on=["mu", "n"]).assign(prior=pair[0], attack=pair[1]))
    place, name = axes.get_subplotspec(), METRICS[metric].label
    mu_axis(axes, study, label=place.is_last_row())
    if place.is_first_row():
        epsilon_axis(axes, study, place.get_gridspec().ncols)
    if place.is_first_row() or narrow:
        axes.set_title(f"1 − {name}" if METRICS[metric].higher_is_better else name, pad=8)
    return pd.concat(tables, ignore_index=True).assign(metric=metric, reference=".".join(base))


def _ratio_axis(axes, tables: list[pd.DataFrame]) -> None:
    """Logarithmic, labelled with plain ratios that do not crowd."""
    axes.set_yscale("log")
    low, high = min(t["low"].min() for t in tables) / 1.06, max(t["high"].max() for t in tables) * 1.06
    kept, gap = [1.0], 0.06 * np.log(high / low)
    for tick in sorted(TICKS, key=lambda t: abs(np.log(t))):
        if low <= tick <= high and all(abs(np.log(tick / other)) >= gap for other in kept):
            kept.append(tick)
    axes.set_ylim(low, high)
    axes.yaxis.set_major_locator(FixedLocator(sorted(kept)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
