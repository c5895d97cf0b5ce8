"""Who sees how much: what every attack recovers for each adversary of the trainings asked about, and each one's mu."""

from dataclasses import asdict

import numpy as np
import pandas as pd

from vpaudit.base import stats
from vpaudit.base.adversaries import ADVERSARIES
from vpaudit.commands.audit.budget import Setup
from vpaudit.commands.audit.recognition import CANDIDATES
from vpaudit.privacy import adversaries
from vpaudit.report import words
from vpaudit.report.results import Results, projected, share_recovered

TOLD = "told λ, which reveals the norm of the image"
UNTOLD = "not told λ"
SHARE = {"": "value", "_low": "low", "_high": "high"}  # a column's suffix here: its name in `Results.recovered`


def recovered(study: Results) -> dict[tuple[str, str, str], pd.DataFrame]:
    """`Results.recovered` by prior, attack and metric, of every attack that was run, told lambda or not."""
    runs = study.metrics[["prior", "attack"]].drop_duplicates().itertuples(index=False)
    pairs = [(run.prior, run.attack, metric) for run in runs for metric in study.measured]
    return {(prior, attack, metric): study.recovered(attack, metric, prior) for prior, attack, metric in pairs}


def visible(study: Results, mu: float) -> list[dict]:
    """At one mu, for each attack with the prior and each metric: distances to own and other targets, and the share.

    Returns:
        Rows of mu, attack, knows, metric, n, and of own, other and recovered with _low and _high; `upper` is the
        one-sided limit of the last. Attacks that are told lambda come first.
    """
    rows = []
    for (prior, attack, metric), shares in recovered(study).items():
        if prior != "unconditional":
            continue
        about = {"mu": mu, "attack": attack, "knows": knows(study, attack), "metric": metric}
        own, others = study.grid(prior, attack, metric), study.others(attack, metric)
        rows.append(_row(about, own[mu], others[mu], words.at(shares, mu)))
    return sorted(rows, key=lambda row: row["knows"] == UNTOLD)


def visible_to_all(study: Results, setup: Setup, unknown: pd.DataFrame) -> list[dict]:
    """`visible` at each mu asked, and of each training to who does not know the image's part; `adversary`, `training`.

    Args:
        unknown: the table `participation`.
    """
    rows = []
    for asked in (a for a in setup.asked if a.mu in study.mu):
        about = {"adversary": asked.adversary, "training": asked.training, "meaning": asked.meaning}
        rows += [row | about for row in visible(study, asked.mu)]
    for training, noise in enumerate(setup.simulated):
        about = {"adversary": "participation_unknown", "training": training, "meaning": _label(setup, training)}
        part = unknown[np.isclose(unknown["noise_multiplier"], noise)]
        rows += [row | about for row in visible_unknown(part, study.measured)]
    order = {name: place for place, name in enumerate(["", *ADVERSARIES])}
    return sorted(rows, key=lambda row: (row["training"], order[row["adversary"]], row["mu"]))


def _label(setup: Setup, training: int) -> str:
    which = f", ε = {setup.budgets[training].epsilon:.3g}" if len(setup.budgets) > 1 else ""
    return ADVERSARIES["participation_unknown"].label + which


def visible_unknown(part: pd.DataFrame, measured: list[str]) -> list[dict]:
    """As `visible`, of what was made of all rounds of one training."""
    rows, mu = [], float(part["mu"].iloc[0])
    attacks = [name for name in dict.fromkeys(part["attack"]) if name]
    for attack, metric in ((attack, metric) for attack in attacks for metric in measured):
        mine = part[(part["attack"] == attack) & (part["metric"] == metric)]
        own = mine[mine["kind"] == "own"].pivot_table(index="image", columns="mu", values="value")
        other = projected(mine[mine["kind"] != "own"]).reindex(own.index)
        share = share_recovered(own, other, metric).iloc[0]
        rows.append(_row({"mu": mu, "attack": attack, "knows": TOLD, "metric": metric}, own[mu], other[mu], share))
    return rows


def _row(about: dict, own: pd.Series, other: pd.Series, share: pd.Series) -> dict:
    row = {**about, "n": len(own), "upper": share["upper"]}
    for name, values in {"own": own, "other": other}.items():
        value, low, high = (float(v) for v in stats.bootstrap(values.to_numpy()))
        row |= {name: value, f"{name}_low": low, f"{name}_high": high}
    return row | {f"recovered{key}": share[name] for key, name in SHARE.items()}


def seen_by(setup: Setup, which: int, unknown: pd.DataFrame) -> list[dict]:
    """What each adversary of a training sees, who that is, its mu, and the chance that it names the image.

    Returns:
        Rows of adversary, training, label, sees, who, mu; `named`, at most, by number of candidates; for unknown
        participation also mu_low and mu_high, of the mean over images of what its rounds were worth, and mu_template,
        what they are worth to who has an exact template.
    """
    budget, rows = setup.budgets[which], []
    training = (budget.noise_multiplier, budget.sample_rate, budget.steps)
    for name in setup.noise_for:
        row = {"adversary": name, "training": which, **asdict(ADVERSARIES[name])}
        row["mu"] = adversaries.mu(name, *training)
        if name == "participation_unknown":
            worth = unknown[np.isclose(unknown["noise_multiplier"], training[0]) & (unknown["metric"] == "mu")]
            value, low, high = (float(v) for v in stats.bootstrap(worth["value"].to_numpy()))
            row |= {"mu_template": row["mu"], "mu": value, "mu_low": low, "mu_high": high}
        rows.append(row | {"named": {f"{n:,}": adversaries.named(name, *training, n) for n in CANDIDATES}})
    return rows


def knows(study: Results, attack: str) -> str:
    """What an attack is told of lambda."""
    return UNTOLD if study.untold(attack) else TOLD
