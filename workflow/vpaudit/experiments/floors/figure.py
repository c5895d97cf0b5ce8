"""A panel a metric: attacks, and what no attack can beat."""

import pandas as pd

from vpaudit.base.labels import LABELS, METRICS
from vpaudit.report.figures.axes import mu_axis
from vpaudit.report.figures.panels import legend, lines, read
from vpaudit.report.results import Results

LOWEST = 1e-4  # MSE below which floors are drawn as this
FLOORS = ("van Trees, best smoothing", "Shannon")
DISTANCE = "ReRo at a distance, prior's samples"
LABEL = {
    "posterior_mean": LABELS["posterior_mean"],
    "ddim": LABELS["ddim"],
    "prior": DISTANCE,
    **{name: f"floor: {name}" for name in FLOORS},
}
LOOKS = dict(zip(LABEL.values(), (0, 1, 2, 4, 6)))


def draw(results, style: dict):
    table, study = read(results, "theory"), Results(results)
    numbers = pd.concat([_of_metric(table, study, metric) for metric in study.measured], ignore_index=True)
    shown = numbers.assign(label=numbers["prior"].map(LABEL))
    mse = shown["metric"] == "mse"
    shown.loc[mse, ["value", "low", "high"]] = shown.loc[mse, ["value", "low", "high"]].clip(lower=LOWEST)
    dashed = [label for label in LOOKS if label.startswith(("floor", "ReRo"))]
    grid = lines(shown, "mu", "label", style, 0.5, order=LOOKS, dashed=dashed, col="metric", sharey=False)
    for metric, axes in grid.axes_dict.items():
        rero, info = study.bound("rero", metric), METRICS[metric]
        axes.plot(rero["mu"], rero["value"].clip(lower=LOWEST), color="black", linestyle="-.", label="(0, γ)-ReRo")
        axes.set_title(f"{info.label} ({'↑' if info.higher_is_better else '↓'} closer)")
        mu_axis(axes, study)
    grid.axes_dict["mse"].set_yscale("log")
    return legend(grid.figure, 3), numbers


def _of_metric(table: pd.DataFrame, study: Results, metric: str) -> pd.DataFrame:
    attacks = [
        study.curve("unconditional", attack, metric).assign(prior=attack, metric=metric, quantity="attack")
        for attack in ("posterior_mean", "ddim")
    ]
    rows = table[(table["metric"] == metric) & (table["quantity"] == "distance_floor")]
    if METRICS[metric].higher_is_better:  # the table holds 1 - value
        rows = rows.assign(value=1 - rows["value"], low=1 - rows["high"], high=1 - rows["low"])
    if metric != "mse":
        return pd.concat([*attacks, rows])
    found = table[(table["quantity"] == "mse_floor") & (table["value"] > LOWEST)]
    return pd.concat([*attacks, rows, *(found[found["prior"] == name] for name in FLOORS)])
