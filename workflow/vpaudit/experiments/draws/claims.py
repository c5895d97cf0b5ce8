"""Agreement of draws against statistics of one draw."""

import numpy as np
import pandas as pd

from vpaudit.base import stats
from vpaudit.report.claims import OURS, Claim, over_mu

BASELINE = "baseline_"


def of(table: pd.DataFrame) -> list[Claim]:
    """The lead of agreement over statistics."""
    right = table[table["prior"] == "unconditional"]
    lead = pd.DataFrame([(mu, *lead_of_agreement(rows)) for mu, rows in right.groupby("mu")])
    lead.columns = ["mu", "value", "low", "high", "n"]
    statistics = sum(name.startswith(BASELINE) for name in right["metric"].unique())
    return over_mu(
        "agreement_beats_statistics",
        "Agreement of samples predicts success better than any statistic of one sample, at a fixed µ (ours)",
        OURS,
        f"lead in Spearman correlation over the best of {statistics} statistics (chosen with the targets known), "
        "smallest at µ = {mu}; µ itself has no rank within a µ",
        lead, 0, above=True, name="agreement leads every statistic of one sample", family="agreement_beats_statistics",
    )  # fmt: skip


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
    best = names[int(np.argmax([abs(stats.spearman(achieved, wide[name])) for name in names]))]

    def lead(c):
        return stats.spearman(c[:, 0], c[:, 1]) - abs(stats.spearman(c[:, 0], c[:, 2]))

    found = stats.bootstrap(wide[["achieved_mse", "estimated_mse", best]].to_numpy(), lead, resamples=500)
    return *(float(v) for v in found), len(wide)
