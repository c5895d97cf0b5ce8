"""What is learnt from a training against what it leaves visible: a point a budget, a line an adversary or measure."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from vpaudit.base import stats
from vpaudit.report.figures import style as styles
from vpaudit.report.figures.panels import MARKERS, PALETTE, level


def costs(found: pd.DataFrame) -> pd.DataFrame:
    """Accuracy (value, low, high) of each noise multiplier, and what is lost against no privacy (cost, ...).

    Args:
        found: as of `measure.utility.table`.

    95 % intervals by Student's t over seeds, the loss paired by seed.
    """
    by = found.pivot_table(index=["noise_multiplier", "epsilon"], columns="seed", values="value", sort=False)
    lost, rows = by.loc[0.0].to_numpy() - by, []
    for about in by.index:
        means = [*stats.t_interval(by.loc[about].to_numpy())[:3], *stats.t_interval(lost.loc[about].to_numpy())[:3]]
        rows.append((*about, *means))
    names = ["value", "low", "high", "cost", "cost_low", "cost_high"]
    return pd.DataFrame(rows, columns=["noise_multiplier", "epsilon", *names])


def draw(numbers: pd.DataFrame, label: str, without: float, style: dict) -> Figure:
    """Accuracy over what is visible.

    Args:
        numbers: columns line, epsilon; value, low, high of accuracy; seen, seen_low, seen_high.
        label: of what is seen; without: accuracy without privacy.
    """
    width, height = styles.size(style, 0.8)
    figure, axes = plt.subplots(figsize=(width * 0.75, height), layout="constrained")
    for place, (name, rows) in enumerate(numbers.groupby("line", sort=False)):
        spread = [
            [rows[v] - rows[f"{k}low"], rows[f"{k}high"] - rows[v]] for v, k in (("seen", "seen_"), ("value", ""))
        ]
        axes.errorbar(
            rows["seen"], rows["value"], yerr=spread[1], xerr=spread[0], label=name, color=PALETTE[place],
            marker=MARKERS[place], linewidth=0.8, elinewidth=0.5, markersize=3,
        )  # fmt: skip
    widest = numbers.groupby("line")["seen"].agg(lambda seen: seen.max() - seen.min()).idxmax()
    for _, row in numbers[numbers["line"] == widest].iterrows():
        axes.annotate(
            f"ε = {row['epsilon']:.3g}", (row["seen"], row["value"]), xytext=(3, -9), textcoords="offset points"
        )
    level(axes, without, "without privacy")
    axes.set(xlabel=label, ylabel="test accuracy")
    axes.legend()
    return figure
