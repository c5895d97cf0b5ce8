"""Left: the matrix of losses, prior against target; right: how well each distance ranks them, by mu."""

import numpy as np
import pandas as pd
import seaborn as sns

from vpaudit.base import stats
from vpaudit.report.figures.panels import MU, legend, lines, log_axis, read

DISTANCES = {"kl": "KL up to this µ", "frechet": "Fréchet, features", "pixels": "Fréchet, pixels"}
LOSS, RANK = "log2 MSE ratio", "rank correlation with the loss"


def draw(results, style: dict):
    table = read(results, "experiments/shift")
    mus = sorted(table["mu"].dropna().unique())
    middle = mus[len(mus) // 2]
    ranks = pd.DataFrame(
        [row for mu in mus for row in _ranks(table, mu)], columns=["distance", "mu", "value", "low", "high", "n"]
    )
    losses = pd.concat([loss(table, mu).rename("value").reset_index().assign(mu=mu) for mu in mus])
    numbers = pd.concat([ranks, losses.assign(quantity=LOSS)], ignore_index=True)
    shown = numbers.assign(panel=numbers["quantity"].fillna(RANK)).replace({"distance": DISTANCES})
    grid = lines(
        shown, "mu", "distance", style, 0.56, order=DISTANCES.values(), col="panel", col_order=(LOSS, RANK),
        sharex=False, sharey=False, gridspec_kws={"width_ratios": (1.4, 1)},
    )  # fmt: skip
    targets = list(table["target"].dropna().unique())
    order = [*targets, *(prior for prior in table["prior"].unique() if prior not in targets)]
    matrix = loss(table, middle).rename("loss").reset_index()
    matrix = matrix.pivot_table(index="prior", columns="target", values="loss").loc[order, targets]
    left, right = grid.axes.flat
    sns.heatmap(matrix, cmap="viridis", square=True, cbar_kws={"shrink": 0.8}, ax=left)
    left.set_title(f"MSE over the right class's, log2, µ = {middle:g}")
    log_axis(right, mus, MU)
    right.set_ylim(min(0, ranks["low"].min()), 1.02)
    return legend(grid.figure, 3), numbers


def _ranks(table: pd.DataFrame, mu: float):
    """(distance, mu, rho, low, high, n) of each distance with the loss, over priors that are not the right class."""
    lost = loss(table, mu)
    lost = lost[lost.index.get_level_values("prior") != lost.index.get_level_values("target")]
    for kind in DISTANCES:
        part = table[(table["metric"] == kind) & (table["mu"].isna() | np.isclose(table["mu"], mu))]
        distance = part.set_index(["prior", "target"])["value"].loc[lost.index]
        yield (kind, mu, *stats.rank_correlation(distance.to_numpy(), lost.to_numpy(), 0), len(lost))


def loss(table: pd.DataFrame, mu: float) -> pd.Series:
    """log2 of MSE over that of the right class, by (prior, target)."""
    rows = table[(table["metric"] == "mse") & np.isclose(table["mu"], mu)].set_index(["prior", "target"])["value"]
    right = {target: rows[target, target] for target in rows.index.get_level_values("target").unique()}
    return np.log2(rows / rows.index.get_level_values("target").map(right).to_numpy())
