"""Agreement against statistics of one draw, what conformal calibration guarantees, and where that breaks."""

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from vpaudit.base import stats
from vpaudit.base.labels import LABELS
from vpaudit.experiments.draws import RATE
from vpaudit.report.claims import OURS, Claim, course_of, over_mu

BASELINE = "baseline_"


def of(table: pd.DataFrame) -> list[Claim]:
    """The lead of agreement over statistics, and the rate under a right and a wrong prior."""
    right = table[table["prior"] == "unconditional"]
    lead = pd.DataFrame([(mu, *lead_of_agreement(rows)) for mu, rows in right.groupby("mu")])
    lead.columns = ["mu", "value", "low", "high", "n"]
    statistics = sum(name.startswith(BASELINE) for name in right["metric"].unique())
    claims = over_mu(
        "agreement_beats_statistics",
        "Agreement of samples predicts success better than any statistic of one sample, at a fixed µ (ours)",
        OURS,
        f"lead in Spearman correlation over the best of {statistics} statistics (chosen with the targets known), "
        "smallest at µ = {mu}; µ itself has no rank within a µ",
        lead, 0, above=True, name="agreement leads every statistic of one sample", family="agreement_beats_statistics",
    )  # fmt: skip
    for prior, text, above in (
        ("unconditional", "Pixels called real are wrong at no more than the guaranteed rate (ours)", False),
        ("wrong_class", "Under a wrong prior samples agree on what is false: the rate is exceeded (ours)", True),
    ):
        grid = _grid(table, prior, "conformal_false")
        if grid.empty:
            continue
        claims += over_mu(
            f"conformal_{prior}",
            text,
            OURS,
            f"share of an image's pixels called real and off by more than a tenth of the range, against {RATE:g}, "
            "largest at µ = {mu}",
            course_of(grid.columns, grid.to_numpy()), RATE, above, strongest=above,
            name=f"pixels called real and wrong, {LABELS[prior]}", family="conformal",
        )  # fmt: skip
    return claims


def lead_of_agreement(rows: pd.DataFrame) -> tuple[float, float, float, int]:
    """By how much the estimate from draws outranks the best statistic of one draw: (value, low, high, n).

    Args:
        rows: of one prior and mu, with achieved_mse, estimated_mse (of the most draws is taken) and baselines.
    """
    estimates = rows[rows["metric"] == "estimated_mse"]
    kept = rows["metric"].str.startswith((BASELINE, "achieved_mse")) & (rows["metric"] != "achieved_mse_of_mean")
    wide = pd.concat([rows[kept], estimates[estimates["draws"] == estimates["draws"].max()]])
    wide = wide.pivot_table(index="image", columns="metric", values="value")
    names = [c for c in wide if c.startswith(BASELINE)]
    achieved = wide["achieved_mse"]
    best = names[int(np.argmax([abs(spearmanr(achieved, wide[name]).statistic) for name in names]))]

    def lead(c):
        return spearmanr(c[:, 0], c[:, 1]).statistic - abs(spearmanr(c[:, 0], c[:, 2]).statistic)

    found = stats.bootstrap(wide[["achieved_mse", "estimated_mse", best]].to_numpy(), lead, resamples=500)
    return *(float(v) for v in found), len(wide)


def _grid(table: pd.DataFrame, prior: str, metric: str) -> pd.DataFrame:
    rows = table[(table["prior"] == prior) & (table["metric"] == metric)]
    return rows.pivot_table(index="image", columns="mu", values="value")
