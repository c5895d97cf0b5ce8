"""A row a model: accuracy over epsilon, and what each filter gains over plain DP-SGD with the same seeds."""

import pandas as pd

from vpaudit.base import stats
from vpaudit.experiments.dpsgd.claims import gains_over_plain
from vpaudit.report.figures.panels import legend, level, lines, log_axis, read

FILTERS = {
    ("plain", "none"): "plain DP-SGD",
    ("kalman", "none"): "Kalman",
    ("wiener", "same"): "Wiener, public data alike",
    ("subspace", "same"): "public subspace, alike",
    ("diffusion", "same"): "diffusion, alike",
    ("wiener", "shifted"): "Wiener, public data shifted",
    ("subspace", "shifted"): "public subspace, shifted",
    ("diffusion", "shifted"): "diffusion, shifted",
}
KEYS = ["model", "method", "public", "epsilon"]
ACCURACY, GAIN = "accuracy", "gain over plain"
TITLES = {ACCURACY: "test accuracy", GAIN: "gain over plain DP-SGD, paired"}


def draw(results, style: dict):
    table = read(results, "experiments/dpsgd")
    gains = gains_over_plain(table)
    kinds = {ACCURACY: table, GAIN: gains.assign(value=gains["gain"]), "seconds": table.assign(value=table["seconds"])}
    numbers = pd.concat([over_seeds(rows).assign(quantity=kind) for kind, rows in kinds.items()], ignore_index=True)
    label = [FILTERS.get(pair) for pair in zip(numbers["method"], numbers["public"])]
    shown = numbers.assign(label=label, panel=numbers["quantity"].map(TITLES)).dropna(subset=["label", "panel"])
    grid = lines(
        shown, "epsilon", "label", style, 0.48 * table["model"].nunique(), order=FILTERS.values(),
        dashed=[text for text in FILTERS.values() if text.endswith("shifted")],
        row="model", col="panel", sharey=False,
    )  # fmt: skip
    for model, (accuracy, gain) in zip(grid.row_names, grid.axes):
        accuracy.set_ylabel(model)
        level(gain, 0)
    log_axis(grid.axes[-1], table["epsilon"], "ε at δ = 1e-5")
    return legend(grid.figure, 3), numbers


def over_seeds(rows: pd.DataFrame) -> pd.DataFrame:
    """KEYS, value, low, high, n by Student's t over the seeds."""
    found = [
        (*key, *stats.t_interval(part["value"].to_numpy())[:3], len(part))
        for key, part in rows.groupby(KEYS, sort=False)
    ]
    return pd.DataFrame(found, columns=[*KEYS, "value", "low", "high", "n"])
