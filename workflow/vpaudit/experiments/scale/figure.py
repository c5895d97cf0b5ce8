"""A row a data set, a column a measure: its value over mu, a line a size; titles say how alike sizes are.

The least rank correlation between a size and the largest, and the largest difference at equal mu over the range.
"""

import pandas as pd

from vpaudit.base import stats
from vpaudit.report.figures.panels import intervals, legend, lines, read

MEASURES = {
    "mse": "MSE",
    "ssim": "SSIM",
    "lpips": "LPIPS",
    "bits": "bits\nleaked",
    "bits_per_dof": "bits / degree\nof freedom",
    "recovered": "variance\nrecovered",
    "recovered_low": "the same,\ncoarse only",
}
SIZES = ("smallest size", "second size", "third size", "largest size")


def draw(results, style: dict):
    table = read(results, "experiments/scale")
    found = intervals(table, ["source", "metric", "size", "mu"]).assign(quantity="mean over images")
    judged, gaps = ranks(table), differences(found)
    sources = table["source"].unique()
    place = found.groupby("source")["size"].rank("dense").astype(int) - 1
    grid = lines(
        found.assign(label=[SIZES[k % 4] for k in place]), "mu", "label", style, 0.12 + 0.26 * len(sources),
        order=SIZES, row="source", col="metric", col_order=list(MEASURES), sharey=False,
    )  # fmt: skip
    grid.set(xscale="log")
    for (source, measure), axes in grid.axes_dict.items():
        rank, gap = (t.loc[(t["source"] == source) & (t["metric"] == measure), "value"] for t in (judged, gaps))
        note = f"\nρ {rank.min():.2f}, {100 * gap.max():.0f} %" if len(rank) else ""
        axes.set_title(MEASURES[measure] + note, fontsize=style["font_size"] - 1.5)
        axes.tick_params(labelsize=style["font_size"] - 3)
        if measure in ("mse", "bits", "bits_per_dof"):
            axes.set_yscale("log")
    for source, axes in zip(grid.row_names, grid.axes[:, 0]):
        sizes = ", ".join(f"{size}" for size in sorted(table.loc[table["source"] == source, "size"].unique()))
        axes.set_ylabel(f"{source}\n{sizes} pixels a side")
    grid.set_xlabels("µ")
    return legend(grid.figure, 4), pd.concat([found, judged, gaps], ignore_index=True)


def ranks(table: pd.DataFrame) -> pd.DataFrame:
    """Spearman's rho over (image, mu) between every size and the largest: 1 if a measure ranks risk alike."""
    rows = []
    for (source, metric), part in table.groupby(["source", "metric"], sort=False):
        wide = part.pivot_table(index=["image", "mu"], columns="size", values="value").dropna(axis=1)
        for size in wide.columns[:-1]:
            value, low, high = stats.rank_correlation(wide[size].to_numpy(), wide[wide.columns[-1]].to_numpy(), 0, 200)
            rows.append((source, metric, size, value, low, high, len(wide)))
    table = pd.DataFrame(rows, columns=["source", "metric", "size", "value", "low", "high", "n"])
    return table.assign(quantity="rank correlation between sizes")


def differences(found: pd.DataFrame) -> pd.DataFrame:
    """Largest difference at equal mu between every size and the largest, over the measure's range: 0 if sizes agree."""
    rows = []
    for (source, metric), part in found.groupby(["source", "metric"], sort=False):
        wide = part.pivot_table(index="mu", columns="size", values="value").dropna(axis=1)
        reach = wide.to_numpy().max() - wide.to_numpy().min()
        for size in wide.columns[:-1]:
            gap = (wide[size] - wide[wide.columns[-1]]).abs().max() / reach
            rows.append((source, metric, size, gap, part["n"].min()))
    table = pd.DataFrame(rows, columns=["source", "metric", "size", "value", "n"])
    return table.assign(quantity="difference between sizes / range")
