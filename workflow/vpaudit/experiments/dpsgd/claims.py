"""Does a denoised gradient train better than plain DP-SGD?"""

import pandas as pd

from vpaudit.base import stats
from vpaudit.experiments.dpsgd.settings import TRIES
from vpaudit.report.claims import LEFT_OPEN, Claim


def of(table: pd.DataFrame) -> list[Claim]:
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
                value, low, high, n, verdict, name=f"denoised gradients train better: {method}, {data}, {model}",
                family="denoising", metric="accuracy", baseline="plain", attack=method,
            )
        )  # fmt: skip
    return claims


def gains_over_plain(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of filters with `gain`: accuracy less that of plain DP-SGD at the same model, epsilon and seed."""
    keys = ["model", "epsilon", "seed"]
    base = table[table["method"] == "plain"].set_index(keys)["value"].rename("plain")
    rows = table[table["method"] != "plain"].join(base, on=keys)
    return rows.assign(gain=rows["value"] - rows["plain"])


def remarks(table: pd.DataFrame) -> str:
    """Where denoised gradients help and where they hurt, and what they cost, in a paragraph."""
    keys = ["model", "method", "public", "epsilon"]
    gains, cells = gains_over_plain(table), {"above": [], "below": [], "open": []}
    for (model, method, public, epsilon), rows in gains.groupby(keys, sort=False):
        mean, low, high, _ = stats.t_interval(rows["gain"].to_numpy())
        public = "" if public == "none" else f", public data {public}"
        text = f"{method}{public}, {model}, ε = {epsilon:g}: {100 * mean:+.1f} [{100 * low:.1f}, {100 * high:.1f}]"
        cells["above" if low > 0 else "below" if high < 0 else "open"].append(text)
    plain = table[table["method"] == "plain"].groupby(["model", "epsilon"])["seconds"].median().rename("usual")
    costs = gains.join(plain, on=["model", "epsilon"])
    costs = (costs["seconds"] / costs["usual"]).groupby(costs["method"], sort=False).median()
    at_edge = []
    for method, rows in table.drop_duplicates(keys).groupby("method", sort=False):
        rates = sorted({options["lr"] for options in TRIES[method]})
        at_edge.append(f"{method} {rows['lr'].isin([rates[0], rates[-1]]).sum()} of {len(rows)}")
    count = sum(map(len, cells.values()))
    return (
        f"**Does it help to denoise gradients?** Of {count} cells (filter, model, ε; {table['seed'].nunique()} seeds, "
        f"no correction for their number: some {0.025 * count:.0f} would stand out on either side by chance) "
        f"{len(cells['above'])} gain, {len(cells['below'])} lose and {len(cells['open'])} stay open. Gains, in points: "
        f"{'; '.join(cells['above']) or 'none'}. Tuning: {len(TRIES['plain'])} runs a filter, model and ε, for plain "
        f"DP-SGD as for the others; the best learning rate lay at an end of its grid for {', '.join(at_edge)}, where a "
        "wider grid might do better. Time of a run over plain DP-SGD's, median (on record from a machine that other "
        "jobs shared, Kalman's most): " + ", ".join(f"{name} {ratio:.2g}" for name, ratio in costs.items()) + ".\n"
    )
