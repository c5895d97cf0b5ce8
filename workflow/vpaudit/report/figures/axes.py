"""What figures over mu share: grids of panels with lines and bands, axes in mu and epsilon, a legend of looks."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.lines import Line2D

from vpaudit.base.labels import LOOKS, number, power
from vpaudit.report.figures import style as styles
from vpaudit.report.results import Results


def lines(table: pd.DataFrame, style: dict, share: float, hue: str, **facets) -> sns.FacetGrid:
    """value over mu with its band from low to high: a panel a facet, a line an entry of `hue`, drawn as its look says.

    Args:
        table: columns mu, value, low, high, `hue` (names of LOOKS with markers), and those that `facets` name.
        share: height over width.
        facets: of seaborn's relplot: row, col, col_wrap, facet_kws, ...
    """
    names = [name for name in LOOKS if name in set(table[hue])]
    keys = [hue, "mu", *(facets[key] for key in ("row", "col") if key in facets)]
    three = table.melt(keys, ["value", "low", "high"], value_name="shown")  # of which seaborn draws median and range
    with plt.rc_context({"figure.constrained_layout.use": False}):
        grid = sns.relplot(
            three, kind="line", x="mu", y="shown", hue=hue, style=hue, hue_order=names, style_order=names,
            palette=style["colours"], markers={name: LOOKS[name].marker for name in names}, dashes=False,
            estimator="median", errorbar=("pi", 100), err_kws={"alpha": 0.22, "linewidth": 0}, markersize=3.6,
            markeredgewidth=0.3, legend=False, zorder=4, **facets,
        )  # fmt: skip
    return laid_out(grid, style, share)


def laid_out(grid: sns.FacetGrid, style: dict, share: float) -> sns.FacetGrid:
    """The grid at the style's width, without seaborn's titles and labels, its panels fitted when it is drawn."""
    grid.set_titles("", "", "").set_axis_labels("", "")
    grid.figure.set_size_inches(styles.size(style, share))
    grid.figure.set_layout_engine("constrained")
    return grid


def legend(figure, style: dict, names, columns: int, **labels: str) -> None:
    """One legend below all panels, an entry a look.

    Args:
        labels: texts in place of the looks' own, by name.
    """
    handles = []
    for name in names:
        look, colour, label = LOOKS[name], style["colours"][name], labels.get(name, LOOKS[name].label)
        if name == "corridor":
            handles.append(plt.Rectangle((0, 0), 1, 1, color=colour, alpha=0.28, linewidth=0, label=label))
        else:
            dash = (0, look.dash) if look.dash else "-"
            handles.append(Line2D([], [], color=colour, linestyle=dash, marker=look.marker, markersize=4, label=label,
                                  markeredgecolor="white", markeredgewidth=0.3))  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, handlelength=2.6)


def epsilon_axis(axes, study: Results, columns: int) -> None:
    """A second axis on top: epsilon at the study's delta, at as many of the grid's mu as fit side by side.

    Args:
        columns: panels beside each other, which decides how much room a number has.
    """
    top = axes.secondary_xaxis("top")
    shown = _apart(study.mu, 0.075 * columns * _need(axes))
    top.set_xticks(shown, [number(study.epsilon(mu)) for mu in shown])
    top.minorticks_off()
    top.set_xlabel(f"ε at δ = {power(study.config['mechanism']['delta'])}")


def mu_axis(axes, study: Results, label: bool = True) -> None:
    """Logarithmic mu with the grid's own ticks, as many labelled as fit side by side."""
    axes.set_xscale("log")
    digit = 0.0139 * axes.get_subplotspec().get_gridspec().ncols * _need(axes)
    shown = _apart(study.mu, np.array([digit * len(f"{mu:g}") for mu in study.mu]))
    axes.set_xticks(study.mu, [f"{mu:g}" if mu in shown else "" for mu in study.mu])
    axes.minorticks_off()
    axes.margins(x=0.04)
    if label:
        axes.set_xlabel("µ = C/σ")


def _need(axes) -> float:
    """Room that a number takes, as a share of the figure's width, over that of the default style."""
    return plt.rcParams["font.size"] / 8.0 * 7.0 / axes.figure.get_figwidth()


def _apart(mu: list[float], room: float | np.ndarray) -> list[float]:
    """The first, the last, and between them those that have `room`, of all or each, a share of the axis in log mu."""
    room = np.broadcast_to(room, len(mu))
    places = np.log(mu) / max(np.log(mu[-1] / mu[0]), 1e-9) if len(mu) > 1 else np.zeros(1)

    def fit(left: int, right: int) -> bool:
        return places[right] - places[left] >= (room[left] + room[right]) / 2

    kept = [0]
    for i in range(1, len(mu)):
        if fit(kept[-1], i):
            kept.append(i)
    last = len(mu) - 1
    if kept[-1] != last:
        kept = [k for k in kept if k == 0 or fit(k, last)] + [last]
    return [mu[i] for i in kept]
