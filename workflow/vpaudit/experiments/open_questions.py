"""Claims on what the paper leaves open, from tables of experiments: agreement in full, and denoised gradients.

A study includes those of `experiments.with_study` in its summary; docs/replication.md adds the fuller ones on record.
"""

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from vpaudit.base import stats
from vpaudit.report.claims import LEFT_OPEN, OURS, Claim, course_of, over_mu

RATE, LEVEL = 0.05, 0.9  # what experiments/draws.py calibrates for
BASELINE = "baseline_"


def of_tables(tables: dict[str, pd.DataFrame]) -> list[Claim]:
    """Claims of the experiments whose tables are given, by name."""
    return [claim for name, table in tables.items() for claim in MAKERS[name](table)]


def draws(table: pd.DataFrame) -> list[Claim]:
    """Agreement against statistics of one draw, what conformal calibration guarantees, and where that breaks."""
    right = table[table["prior"] == "unconditional"]
    lead = pd.DataFrame([(mu, *lead_of_agreement(rows)) for mu, rows in right.groupby("mu")])
    lead.columns = ["mu", "value", "low", "high", "n"]
    statistics = sum(name.startswith(BASELINE) for name in right["metric"].unique())
    claims = over_mu(
        "agreement_beats_statistics",
        "Agreement of draws tells success better than any no-reference statistic of one draw, within a fixed mu (ours)",
        OURS,
        f"lead in Spearman correlation over the best of {statistics} statistics (chosen with the targets known), "
        "smallest at mu = {mu}; mu itself has no rank within a mu",
        lead, 0, above=True,
    )  # fmt: skip
    for prior, text, above in (
        ("unconditional", "Pixels called real are wrong at no more than the guaranteed rate (ours)", False),
        ("wrong_class", "Under a wrong prior draws agree on what is false: the rate is exceeded (ours)", True),
    ):
        grid = _grid(table, prior, "conformal_false")
        if grid.empty:
            continue
        claims += over_mu(
            f"conformal_{prior}",
            text,
            OURS,
            f"share of an image's pixels called real and off by more than a tenth of the range, against {RATE:g}, "
            "largest at mu = {mu}",
            course_of(grid.columns, grid.to_numpy()), RATE, above, strongest=above,
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


def dpsgd(table: pd.DataFrame) -> list[Claim]:
    """One claim a filter, public data and classifier: the gain over plain DP-SGD of the same seeds."""
    gains = gains_over_plain(table)
    found = []
    for key, rows in gains.groupby(["model", "method", "public"], sort=False):
        seeds = rows.groupby("seed")["gain"].mean().to_numpy()
        found.append((key, rows, stats.t_interval(seeds), len(seeds)))
    claims = []
    for (key, rows, (value, low, high, _), n), p in zip(found, stats.holm([f[2][3] for f in found])):
        model, method, public = key
        data = {"none": "no public data", "same": "public data alike", "shifted": "shifted public data"}[public]
        by = ", ".join(f"{e:g}: {g:+.3f}" for e, g in rows.groupby("epsilon")["gain"].mean().items())
        verdict = "inconclusive" if p > 0.05 else "confirmed" if value > 0 else "not confirmed"
        claims.append(
            Claim(
                f"denoising_{model}_{method}_{public}",
                f"A denoised gradient trains better than plain DP-SGD: {method}, {data}, {model} model",
                LEFT_OPEN,
                f"gain in test accuracy, mean over ε ({by}); Student's t over seeds, verdict by Holm's method over "
                f"{len(found)} filters",
                value, low, high, n, verdict,
            )
        )  # fmt: skip
    return claims


def gains_over_plain(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of filters with `gain`: accuracy less that of plain DP-SGD at the same model, epsilon and seed."""
    keys = ["model", "epsilon", "seed"]
    base = table[table["method"] == "plain"].set_index(keys)["value"].rename("plain")
    rows = table[table["method"] != "plain"].join(base, on=keys)
    return rows.assign(gain=rows["value"] - rows["plain"])


MAKERS = {"draws": draws, "dpsgd": dpsgd}
