"""What the answer says of reconstructions beyond errors: what may be called real, which image it is, which class."""

import numpy as np
import pandas as pd
from scipy.stats import mannwhitneyu

from vpaudit.base import stats
from vpaudit.commands.audit.budget import Setup, rounded
from vpaudit.measure.believed import RATE, TOLERANCE
from vpaudit.measure.recognition import CANDIDATES, chance
from vpaudit.privacy import adversaries

DIFFERENT = 0.01  # p below which audited and public images are not alike
GUESS = "posterior_mean"


def part(setup: Setup, which: int, name: str) -> str:
    """What an adversary of a training sees, as `Layout.seen` calls it."""
    budget = setup.budgets[which]
    if name == "participation_unknown" and setup.simulated:
        return f"noise={budget.noise_multiplier:g}"
    return f"mu={rounded(adversaries.mu(name, budget.noise_multiplier, budget.sample_rate, budget.steps)):g}"


def believed(table: pd.DataFrame, seen: str) -> dict | None:
    """What may be called real in the best guesses made of what is seen; None where it was not calibrated.

    Returns:
        limit; of each value, low, high: `called`, share of an audited image's pixels; `wrong`, of the called pixels of
        a public one, each judged by the limit of the others; `audited`, of an audited image's; `content`, of all called
        pixels of public images off the background.
    """
    rows = table[table["part"] == seen]
    if rows.empty:
        return None
    by = {
        key: some.pivot_table(index="image", columns="metric", values="value") for key, some in rows.groupby("images")
    }
    public, audited = by["public"], by["audited"]
    found = {"called": audited["called"], "wrong": public["wrong"], "audited": audited["wrong"]}
    return {
        "limit": float(audited["limit"].iloc[0]),
        **{key: interval(values) for key, values in found.items()},
        "content": _off_the_background(public),
    }


def _off_the_background(images: pd.DataFrame) -> dict[str, float] | None:
    """Of all pixels called off the background the share that is wrong; None where hardly any is called."""
    some = images[images["content_called"] > 0]
    if len(some) < 2:
        return None
    shares = np.clip(stats.ratio(some["content_wrong"].to_numpy(), some["content_called"].to_numpy()), 0, 1)
    return dict(zip(("value", "low", "high"), map(float, shares)))


def alike(table: pd.DataFrame) -> dict | None:
    """Whether audited images are as hard for the prior as the public ones: p of a rank test; `harder` in log error."""
    rows = table[table["metric"] == "hardness"]
    if rows.empty:
        return None
    audited, public = (rows.loc[rows["images"] == kind, "value"] for kind in ("audited", "public"))
    p = float(mannwhitneyu(audited, public).pvalue)
    more = float(np.expm1(audited.mean() - public.mean()))
    return {
        "images": len(public),
        "p": p,
        "alike": p >= DIFFERENT,
        "more_error": more,
        "rate": RATE,
        "off": TOLERANCE / 2,
    }


def picks(table: pd.DataFrame, seen: str) -> dict[str, dict]:
    """By measure (mse, lpips) and n: how often the best guess is nearer to its target than to n - 1 others."""
    rows, found = table[(table["part"] == seen) & (table["attack"] == GUESS)], {}
    for metric in ("mse", "lpips"):
        some = rows[rows["metric"] == metric]
        others = int(some["others"].iloc[0]) if len(some) else 0
        found[metric] = {
            f"{n:,}": stats.counted(chance(some["value"].to_numpy(), others, n)) for n in CANDIDATES if n - 1 <= others
        }
    return found


def classes(table: pd.DataFrame) -> dict | None:
    """How often the class is named from the image itself and from its norm alone; None where classes are not known."""
    rows = table[table["part"] == ""]
    names = {"image": "class_of_image", "norm": "class_by_norm"}
    return None if rows.empty else {k: stats.counted(rows.loc[rows["metric"] == m, "value"]) for k, m in names.items()}


def named_class(table: pd.DataFrame, setup: Setup, which: int, name: str) -> dict | None:
    """How often the class is named from best guess and sample, and the most that any adversary names it.

    The bound is that of reconstruction robustness, for the baseline of who knows the norm alone: it holds for whatever
    is told beforehand, if the baseline is as good as any that is told the same.
    """
    rows = table[(table["part"] == part(setup, which, name)) & (table["metric"] == "class")]
    if rows.empty:
        return None
    budget, blind = setup.budgets[which], classes(table)["norm"]["value"]
    training = (budget.noise_multiplier, budget.sample_rate, budget.steps)
    most = adversaries.named(name, *training, 1 / blind) if 0 < blind < 1 else 1.0
    return {**{attack: stats.counted(some["value"]) for attack, some in rows.groupby("attack")}, "most": most}


def interval(values) -> dict[str, float]:
    """Mean of shares over images with its 95 % interval."""
    value, low, high = (float(v) for v in stats.bootstrap(np.asarray(values, dtype=float)))
    return {"value": value, "low": max(low, 0.0), "high": min(high, 1.0)}
