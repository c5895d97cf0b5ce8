"""What is estimated, how well, and what it costs against perfect knowledge."""

import numpy as np
import pandas as pd

from vpaudit.report.figures.panels import MU, intervals, legend, level, lines, log_axis, read

ESTIMATORS = {"wavelet": "wavelets", "patches": "patches", "blank": "coordinates without image", "prior": "the prior"}
GUESSES = {"norm": "C and the typical norm", "energy": "energy and the typical norm", "prior": "the prior"}
ERRORS = (-0.2, -0.1, 0.1, 0.2)
KEYS = ["knowledge", "sigma", "lam", "sigma_error", "lam_error", "mu"]
PANELS = ("σ believed / true", "λ believed / true", "σ told wrongly", "σ unknown", "λ unknown", "λ told wrongly")


def draw(results, style: dict):
    table = read(results, "experiments/knowledge")
    mse = table[(table["metric"] == "mse") & (table["attack"] == "posterior_mean")]
    known = (mse["sigma"] == "known") & (mse["lam"] == "known")
    base = mse[known & (mse["sigma_error"] == 0) & (mse["lam_error"] == 0)]
    parts, looks = [], {}

    def add(panel: str, label: str, number: int, rows: pd.DataFrame, ratio: str | None = None) -> None:
        looks.setdefault(label, number)
        if ratio:
            found = spread(rows[rows["metric"] == ratio]).assign(quantity=f"{ratio}, median and 5 to 95 %")
        else:
            found = intervals(rows, KEYS, base).assign(quantity="MSE / perfect knowledge")
        parts.append(found.assign(panel=panel, label=label))

    for number, (name, text) in enumerate(ESTIMATORS.items()):
        alone = (table["sigma"] == name) & (table["lam"] == "known")
        add("σ believed / true", f"σ by {text}", number, table[alone], "sigma_ratio")
        add("σ unknown", f"σ by {text}", number, mse[alone.loc[mse.index]])
    for number, (name, text) in enumerate(GUESSES.items(), start=4):
        alone = (table["lam"] == name) & (table["sigma"] == "known")
        add("λ believed / true", f"λ by {text}", number, table[alone], "lambda_ratio")
        add("λ unknown", f"λ by {text}", number, mse[alone.loc[mse.index]])
        add(
            "λ unknown",
            f"λ by {text}, σ too",
            number,
            mse[(mse["lam"] == name) & (mse["sigma"] == "blank")],
        )
    for number, error in enumerate(ERRORS, start=7):
        for panel, column in (("σ told wrongly", "sigma_error"), ("λ told wrongly", "lam_error")):
            add(panel, f"told {100 * error:+g} %", number, mse[np.isclose(mse[column], error)])
    shown = pd.concat(parts, ignore_index=True)
    dashed = [label for label in looks if label.endswith("σ too")]
    grid = lines(
        shown, "mu", "label", style, 0.82, order=looks, dashed=dashed, col="panel", col_order=PANELS, col_wrap=3,
        sharey=False,
    )  # fmt: skip
    level(grid.axes.flat, 1)
    log_axis(grid.axes.flat, table["mu"])
    for name, axes in grid.axes_dict.items():
        axes.set_ylabel("median, 5 to 95 % of images" if "/" in name else "MSE / with σ and λ known")
        axes.set_xlabel("" if "/" in name else MU)
    return legend(grid.figure, 3), shown.drop(columns=["panel", "label"])


def spread(rows: pd.DataFrame) -> pd.DataFrame:
    """KEYS, value, low, high, n: median over images, and the range in which 90 % of them are."""
    groups = rows.groupby(KEYS)["value"]
    found = pd.DataFrame({name: groups.quantile(q) for name, q in (("value", 0.5), ("low", 0.05), ("high", 0.95))})
    return found.reset_index().assign(n=rows["image"].nunique())
