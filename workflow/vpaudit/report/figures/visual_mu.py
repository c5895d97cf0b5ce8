"""How much of the budget attacks turn into success that can be seen, in the budget's own unit."""

from matplotlib.ticker import LogLocator, NullLocator

from vpaudit.base.labels import LOOKS, METRICS
from vpaudit.report.figures import style as styles
from vpaudit.report.figures.axes import epsilon_axis, legend, lines, mu_axis
from vpaudit.report.figures.success import nothing
from vpaudit.report.results import ATTACKS, Results

BELOW = 1e-3  # where limits of 0 are on the logarithmic axis: below what is shown


def draw(results, style: dict):
    """A panel a metric: lower limits as lines with markers, estimates thin above them, mu itself as diagonal."""
    study = Results(results)
    table = study.visual_mu[study.visual_mu[["prior", "attack"]].apply(tuple, axis=1).isin(ATTACKS)]
    if table.empty:
        return nothing(style), table
    metrics, narrow = table["metric"].unique(), styles.narrow(style)
    low = table["low"].clip(lower=BELOW)
    facets = {"row": "metric"} if narrow else {"col": "metric"}
    grid = lines(table.drop(columns="shown").assign(value=low, low=low, high=low), style,
                 0.25 + 0.75 * len(metrics) if narrow else 0.48, "attack", **facets)  # fmt: skip
    for metric, axes in grid.axes_dict.items():
        axes.plot(study.mu, study.mu, color=style["colours"]["whole_budget"], linestyle=(0, LOOKS["whole_budget"].dash))
        for attack, rows in table[table["metric"] == metric].groupby("attack"):
            axes.plot(rows["mu"], rows["value"], color=style["colours"][attack], linewidth=0.7, alpha=0.7)
        axes.set(yscale="log", ylim=(0.5 * study.mu[0], 1.5 * table["value"].max()), title=METRICS[metric].label)
        axes.yaxis.set(major_locator=LogLocator(subs=(1, 2, 5)), major_formatter="{x:g}", minor_locator=NullLocator())
        if axes.get_subplotspec().is_first_col():
            axes.set_ylabel("visual µ")
        mu_axis(axes, study)
        epsilon_axis(axes, study, 1 if narrow else len(metrics))
    names = [attack for _, attack in ATTACKS if attack in set(table["attack"])]
    legend(grid.figure, style, [*names, "whole_budget"], 2 if narrow else 3)
    return grid.figure, table
