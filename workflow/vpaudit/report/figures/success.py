"""How often attacks come close to their target, against the most that theory allows them."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.ticker import FixedLocator, NullLocator

from vpaudit.base.labels import LOOKS, METRICS
from vpaudit.report import success
from vpaudit.report.figures import style as styles
from vpaudit.report.figures.axes import laid_out, legend
from vpaudit.report.results import Results

ATTACKS = ("given_norm", "posterior_mean", "posterior_mean_untold")
NEAR = (1.0, 2.0, 5.0, 10.0)  # the mu of the grid nearest to these are shown
ROWS = ("mse", "ssim")
TICKS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2)


def draw(results, style: dict):
    """A row a metric, a column a mu: success over the threshold, and the theorem's bound, in the attack's colour."""
    study = Results(results)
    table = _numbers(study)
    if table.empty:
        return nothing(style), table
    narrow = styles.narrow(style)
    row, col = ("mu", "metric") if narrow else ("metric", "mu")
    metrics, mus = table["metric"].unique(), table["mu"].unique()
    share = 0.15 + 0.45 * len(mus) if narrow else 0.1 + 0.27 * len(metrics)
    with plt.rc_context({"figure.constrained_layout.use": False}):
        grid = sns.FacetGrid(table, row=row, col=col, sharex="col" if narrow else "row")
    laid_out(grid, style, share)
    for names, axes in grid.axes_dict.items():
        metric, mu = names[::-1] if narrow else names
        rows = table[(table["metric"] == metric) & (table["mu"] == mu)]
        for attack, one in rows.groupby("attack", sort=False):
            _attack(axes, one.sort_values("eta"), style["colours"][attack], LOOKS[attack].marker)
        untold = rows.dropna(subset="any_attack").sort_values("eta")
        axes.plot(
            untold["eta"],
            untold["any_attack"],
            color=style["colours"]["any_untold"],
            linestyle=(0, LOOKS["any_untold"].dash),
        )
        _labels(axes, metric, mu)
    names = [*(name for name in ATTACKS if name in set(table["attack"])), "theorem"]
    names += ["any_untold"] if table["any_attack"].notna().any() else []
    legend(grid.figure, style, names, 2 if narrow else 3)
    return grid.figure, table


def _numbers(study: Results) -> pd.DataFrame:
    """Rows of `Results.success` with the reference that limits the attack most, and any_attack, the bound for all."""
    found = study.success
    if found.empty:
        return found
    mus = sorted({min(study.mu, key=lambda mu, near=near: abs(np.log(mu / near))) for near in NEAR})
    found = found[(found["prior"] == "unconditional") & found["attack"].isin(ATTACKS)]
    found = found[found["metric"].isin(ROWS) & found["mu"].isin(mus)]
    found = found.merge(study.visual_mu[[*success.KEYS, "reference"]])
    groups = [rows.assign(any_attack=_any_untold(study, rows)) for _, rows in found.groupby(success.KEYS)]
    order = {name: place for place, name in enumerate((*ROWS, *ATTACKS))}
    table = pd.concat(groups, ignore_index=True)
    return table.sort_values(["metric", "attack", "mu", "eta"], key=lambda c: c.map(order) if c.dtype == object else c)


def _any_untold(study: Results, rows: pd.DataFrame):
    """`success.without_lambda` at these thresholds, of an attack that is not told lambda; else NaN."""
    _, attack, metric, mu = rows[success.KEYS].iloc[0]
    if metric != "mse" or not study.untold(attack) or study.public is None:
        return np.nan
    return success.without_lambda(study.public, rows["eta"].to_numpy(), mu)


def _attack(axes, rows: pd.DataFrame, colour: str, marker: str) -> None:
    axes.plot(rows["eta"], rows["real"], color=colour, marker=marker, markersize=3, markeredgewidth=0.3,
              markeredgecolor="white", zorder=4)  # fmt: skip
    axes.fill_between(rows["eta"], rows["low"], rows["high"], color=colour, alpha=0.2, linewidth=0)
    # at the upper limit: where no output succeeded without the target, the bound at 0 would be 0
    axes.plot(rows["eta"], rows["bound_high"], color=colour, linestyle=(0, LOOKS["theorem"].dash), linewidth=1.1)


def _labels(axes, metric: str, mu: float) -> None:
    place, higher = axes.get_subplotspec(), METRICS[metric].higher_is_better
    axes.set_ylim(-0.03, 1.03)
    if metric == "mse":
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator(TICKS))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_locator(NullLocator())
    elif higher and axes.get_xlim()[0] < axes.get_xlim()[1]:
        axes.invert_xaxis()  # to the right it is easier, as for a distance
    if place.is_first_row():
        axes.set_title(f"µ = {mu:g}", pad=6)
    if place.is_first_col():
        axes.set_ylabel("share of outputs that succeed")
    axes.set_xlabel(f"success: {METRICS[metric].label} {'≥' if higher else '≤'}")


def nothing(style: dict):
    """A figure of a study that measured no success without the target."""
    figure = plt.figure(figsize=styles.size(style, 0.3))
    figure.text(0.5, 0.5, "success without the target:\nnot measured in this run", ha="center", va="center")
    return figure
