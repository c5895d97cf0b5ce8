"""Above: rank correlation with success within a mu, and estimate over error by mu and by number of draws; below:
reliability of the pixel-wise spread for the right and for a wrong prior, and estimate over error by frequency."""

import numpy as np
import pandas as pd

from vpaudit.base import stats
from vpaudit.experiments.draws.claims import lead_of_agreement
from vpaudit.report.figures.panels import DOTTED, MU, intervals, level, lines, log_axis, read

ESTIMATES = {
    "estimated_mse": "agreement of draws",
    "baseline_total_variation": "total variation of one draw",
    "baseline_sharpness": "sharpness of one draw",
    "baseline_contrast": "contrast of one draw",
    "baseline_brightness": "brightness of one draw",
}
PRIORS = {"unconditional": "right prior", "wrong_class": "wrong class"}
RANK, RATIO, COUNT, BANDS = (
    "rank correlation with the error",
    "estimated / achieved MSE, by µ",
    "estimated / achieved, by draws",
    "estimated / achieved, by frequency",
)
RELIABILITY = {prior: f"{label}: error against spread" for prior, label in PRIORS.items()}
PANELS = (RANK, RATIO, COUNT, *RELIABILITY.values(), BANDS)


def draw(results, style: dict):
    table = read(results, "experiments/draws")
    right, mus = table[table["prior"] == "unconditional"], sorted(table["mu"].unique())
    ranks = _ranks(right, int(table["draws"].max()))
    tables, parts = [ranks], [_shown(RANK, ranks, "mu", ranks["estimate"].map(ESTIMATES))]
    for prior, label in PRIORS.items():
        rows = table[table["prior"] == prior]
        achieved = rows[rows["metric"] == "achieved_mse"]
        found = intervals(rows[rows["metric"] == "estimated_mse"], ["draws", "mu"], achieved)
        tables.append(found.assign(prior=prior, quantity="estimate / achieved"))
        parts.append(_shown(RATIO, found[found["draws"] == found["draws"].max()], "mu", label))
        if prior == "unconditional":
            parts.append(_shown(COUNT, found, "draws", found["mu"].map("µ = {:g}".format)))
        for mu in mus[:: max(1, len(mus) - 1)]:
            found = _reliability(rows, mu)
            tables.append(found.assign(prior=prior))
            parts.append(_shown(RELIABILITY[prior], found, "spread", f"µ = {mu:g}"))
    for band, rows in right[right["metric"] == "estimated_band"].groupby("place"):
        base = right[(right["metric"] == "achieved_band") & (right["place"] == band)]
        found = intervals(rows, ["place", "mu"], base)
        tables.append(found.assign(quantity="estimate / achieved by frequency"))
        parts.append(_shown(BANDS, found, "mu", f"frequency band {band + 1}"))
    shown = pd.concat(parts).dropna(subset="label")
    options = {"col": "panel", "col_order": PANELS, "col_wrap": 3, "sharex": False, "sharey": False}
    grid = lines(shown, "x", "label", style, 0.72, **options)
    _axes(grid.axes_dict, shown, mus)
    for axes in grid.axes.flat:
        axes.legend(frameon=False, fontsize=style["font_size"] - 2.5)
    return grid.figure, pd.concat(tables, ignore_index=True)


def _shown(panel: str, found: pd.DataFrame, x: str, label: str | pd.Series) -> pd.DataFrame:
    return found[["value", "low", "high"]].assign(panel=panel, x=found[x], label=label)


def _axes(axes: dict, shown: pd.DataFrame, mus: list[float]) -> None:
    for panel in (RANK, RATIO, BANDS):
        log_axis(axes[panel], mus, MU)
    log_axis(axes[COUNT], shown.loc[shown["panel"] == COUNT, "x"], "draws")
    level([axes[panel] for panel in (RATIO, COUNT, BANDS)], 1)
    level(axes[RANK], 0)
    axes[RANK].set_ylim(top=2.0)  # room for the legend: a correlation ends at 1
    axes[RANK].set_yticks((-0.5, 0, 0.5, 1))
    for panel in RELIABILITY.values():
        x, value = shown.loc[shown["panel"] == panel, ["x", "value"]].to_numpy().T
        ends = [0, np.nanmax([*x, 0.1])]
        axes[panel].plot(ends, ends, **DOTTED)
        axes[panel].set(xlabel="pixel's std between draws", ylabel="pixel's error (root mean square)")
        axes[panel].set_ylim(0, 1.25 * np.nanmax([*value, 0.1]))  # few pixels vary little: a limit may lie far outside


def _ranks(right: pd.DataFrame, most: int) -> pd.DataFrame:
    """Spearman's rho with the achieved error within each mu: the estimate, baselines from one draw, and by how much the
    estimate is ahead of the best of them (chosen with the targets known). The known mu alone has no rank within a mu.
    """
    found = []
    for mu, rows in right.groupby("mu"):
        achieved = rows[rows["metric"] == "achieved_mse"].set_index("image")["value"]
        for name in ESTIMATES:
            part = rows[(rows["metric"] == name) & rows["draws"].isin((most, 1))].set_index("image")["value"]
            value = stats.rank_correlation(part.loc[achieved.index].to_numpy(), achieved.to_numpy(), 0)
            found.append((name, mu, *value, len(achieved)))
        found.append(("ahead", mu, *lead_of_agreement(rows)))
    table = pd.DataFrame(found, columns=["estimate", "mu", "value", "low", "high", "n"])
    kind = np.where(table["estimate"] == "ahead", "rank correlation, ahead of the best baseline", "rank correlation")
    return table.assign(quantity=kind)


def _reliability(rows: pd.DataFrame, mu: float) -> pd.DataFrame:
    """Root mean square error of the mean of draws against their spread, a row a bin of spread."""
    found = []
    pixels = rows[rows["metric"] == "pixels"].set_index(["image", "mu", "place"])["value"]
    wide = rows[np.isclose(rows["mu"], mu) & rows["metric"].isin(("pixel_variance", "pixel_squared_error"))]
    wide = wide.pivot_table(index=["image", "mu", "place"], columns="metric", values="value")
    wide = wide.join(pixels.rename("pixels"))
    for place, part in wide.groupby("place"):
        weight = part["pixels"].to_numpy()
        if weight.sum() < 200:
            continue
        both = part[["pixel_squared_error", "pixel_variance"]].to_numpy()
        value, low, high = np.sqrt(np.maximum(stats.ratio(both[:, 0] * weight, weight), 0))
        spread = np.sqrt((both[:, 1] * weight).sum() / weight.sum())
        found.append((mu, place, spread, value, low, high, int(weight.sum())))
    table = pd.DataFrame(found, columns=["mu", "place", "spread", "value", "low", "high", "n"], dtype=float)
    return table.assign(quantity="reliability")
