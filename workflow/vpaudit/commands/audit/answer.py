"""What an audit answers, from the tables of its study: what is left visible, how much noise hides it, how sure that is.

Every number is one of the tables' with its interval over the images; what is not known is reported as such.
"""

import textwrap
from dataclasses import asdict, dataclass
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd

from vpaudit.base import files, stats
from vpaudit.base.adversaries import ADVERSARIES
from vpaudit.base.errors import VpauditError
from vpaudit.base.labels import LABELS, METRICS, number, power
from vpaudit.commands.audit.budget import Setup
from vpaudit.measure import prior_mismatch
from vpaudit.privacy import accounting, adversaries
from vpaudit.report import words
from vpaudit.report.results import Results, projected, share_recovered
from vpaudit.study.layout import Layout

TOLD = "told λ, which reveals the norm of the image"
UNTOLD = "not told λ"
CANDIDATES = (10, 100, 1000)  # among which the chance of being named is told
SHARE = {"": "value", "_low": "low", "_high": "high"}  # a column's suffix here: its name in `Results.recovered`
STRONGER = (
    "This is what these attacks reach with this prior. An adversary with a better prior, with other images of this "
    "kind or with candidates for the image may see more: the noise found here is a lower estimate of what is needed, "
    "and no guarantee."
)


@dataclass(frozen=True)
class End:
    """Up to which mu an attack is shown to recover less than the margin, in one metric.

    Attributes:
        mu: NaN where it is not shown at any mu asked, the last one where it is at all; estimate: the mu up to which
            this is so by the share itself, without its limit; upper: the limit at the smallest mu, and `remedy` what
            would bring it below the margin, as of `words.remedy`.
    """

    prior: str
    attack: str
    metric: str
    mu: float
    estimate: float
    upper: float
    remedy: str
    n: int


def build(layout: Layout, setup: Setup, facts: dict) -> dict:
    """The whole answer, as what JSON knows (NaN as null)."""
    study = Results(layout.results)
    found = [end(shares, study.margin, *about) for about, shares in recovered(study).items()]
    distance = distances(pd.read_parquet(layout.table("domain")), study, setup)
    asked = [a.mu for a in setup.asked if a.mu in study.mu]
    unknown = pd.read_parquet(layout.table("participation"))
    return files.plain(
        {
            **facts,
            "budgets": [asdict(b) for b in setup.budgets],
            "delta": setup.delta,
            "asked": [asdict(a) for a in setup.asked],
            "adversary": setup.adversary if setup.simulated else None,
            "adversaries": [who for k in range(len(setup.budgets)) for who in seen_by(setup, k, unknown)],
            "visible": visible_to_all(study, setup, unknown),
            "visual_mu": [row for mu in asked for row in visual_mu(study, mu)],
            "named": {f"{mu:g}": words.named(study, mu) for mu in asked},
            "margin": study.margin,
            "ends": [asdict(e) for e in found],
            "recommendation": recommend(found, study.mu, setup),
            "distance": distance,
            "warnings": [*facts["warnings"], *_warnings(distance, study), STRONGER],
            "notes": files.read_json(layout.summary)["notes"],
        }
    )


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
        rows.append(row | {"named": {str(n): adversaries.named(name, *training, n) for n in CANDIDATES}})
    return rows


def visual_mu(study: Results, mu: float) -> list[dict]:
    """At one mu, for each attack with the prior and each metric: how much of mu becomes success that can be seen.

    Returns:
        Rows of mu, attack, knows, metric, value and low (95 %, privacy/success.py); none where no release without the
        targets was attacked.
    """
    rows = study.visual_mu
    rows = rows[np.isclose(rows["mu"].astype(float), mu) & (rows["prior"] == "unconditional")]
    found = rows.assign(knows=[knows(study, attack) for attack in rows["attack"]])
    columns = ["mu", "attack", "knows", "metric", "value", "low"]
    return sorted(found[columns].to_dict("records"), key=lambda row: row["knows"] == UNTOLD)


def knows(study: Results, attack: str) -> str:
    """What an attack is told of lambda."""
    return UNTOLD if study.untold(attack) else TOLD


def end(shares: pd.DataFrame, margin: float, prior: str, attack: str, metric: str) -> End:
    """Where reconstruction ends for one attack and metric; `shares` as of `Results.recovered`."""
    mu, first = shares["mu"], shares.iloc[0]
    return End(
        prior, attack, metric, stats.end_of_reconstruction(mu, shares["upper"], margin),
        stats.end_of_reconstruction(mu, shares["value"], margin), float(first["upper"]), words.remedy(first, margin),
        int(first["n"]),
    )  # fmt: skip


def recommend(found: list[End], mu: list[float], setup: Setup) -> dict:
    """The smallest noise multiplier at which every attack is shown to recover less than the margin in every metric.

    What an adversary of a training has of the image counts as one release of its mu; for unknown participation as of
    who has an exact template, which is more than it has.

    Each attack and metric is tested at 95 %; the noise that all of them pass is too small in at most 5 % of audits, so
    their number needs no correction. Few images have wide limits, so they never make less noise appear enough.

    Args:
        mu: the grid.

    Returns:
        The `End` of the attack that needs most noise, its mu the grid's first where it is NaN; state: "inside" the
        grid, "below" it (not shown at any mu) or "above" (shown at all); noise: for each adversary of the training
        asked about, first the one to be stopped, adversary, noise_multiplier and the whole training's epsilon with it;
        open: attacks of which it is not shown at any mu in some metric, rest: up to which mu it is of all others.
    """
    worst = min(found, key=lambda e: (np.nan_to_num(e.mu, nan=-np.inf), -e.upper))
    state = "below" if np.isnan(worst.mu) else "above" if worst.mu >= mu[-1] else "inside"
    at = mu[0] if state == "below" else worst.mu
    noise = [_noise(setup, name, at) for name in sorted(setup.noise_for, key=lambda name: name != setup.adversary)]
    open_ = list(dict.fromkeys(e.attack for e in found if np.isnan(e.mu)))
    rest = min((e.mu for e in found if e.attack not in open_), default=float("nan"))
    return {**asdict(worst), "mu": at, "state": state, "noise": noise, "open": open_, "rest": rest}


def _noise(setup: Setup, name: str, mu: float) -> dict:
    """Noise multiplier at which an adversary of the training has this mu, and the training's epsilon."""
    multiplier = adversaries.noise_multiplier(name, mu, setup.sample_rate, setup.steps)
    return {"adversary": name, "noise_multiplier": multiplier, "epsilon": _epsilon(setup, multiplier)}


def _epsilon(setup: Setup, noise_multiplier: float) -> float:
    """epsilon of the training with another noise multiplier; NaN where it cannot be computed."""
    try:
        return accounting.epsilon_poisson(noise_multiplier, setup.sample_rate, setup.steps, setup.delta)
    except VpauditError:
        return float("nan")


def distances(table: pd.DataFrame, study: Results, setup: Setup) -> dict:
    """How far the images are from the prior's kind: over all noise measured, and at the noise of each mu asked for."""
    noise = study.bound("uninformed", "mse").set_index("mu")["value"].pow(0.5)  # the root mean square of s over images
    found = [
        {"mu": a.mu, **prior_mismatch.excess(table, float(noise.loc[noise.index[np.isclose(noise.index, a.mu)][0]]))}
        for a in setup.asked
        if a.mu in study.mu
    ]
    return {"reference": table["reference_kind"].iloc[0], "all": prior_mismatch.excess(table, 0.0), "at": found}


def _warnings(distance: dict, study: Results) -> list[str]:
    found = []
    whole = distance["all"]
    if whole["low"] > 0 and whole["share"] > prior_mismatch.FAR:
        found.append(
            f"The images are far from what this prior knows: its error on them is {100 * whole['share']:.0f} % larger "
            "than on its own kind. An adversary with a prior of their kind sees more: all of this is a lower estimate "
            "of the risk."
        )
    elif whole["high"] < 0 and -whole["share"] > prior_mismatch.FAR:
        found.append(
            f"The images are simpler than those this prior knows ({-100 * whole['share']:.0f} % less error), which "
            "does not make them its kind. A prior of their kind may see more: this is a lower estimate of the risk."
        )
    found += [
        f"{METRICS[m].label} could not be computed here; the answer rests on the other metrics." for m in study.missing
    ]
    return found


def text(found: dict) -> str:
    """The answer for people, lines of at most 100 characters or so."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {
        "number": number,
        "power": power,
        "whole": words.whole,
        "share": words.share,
        "percent": words.percent,
    }
    template = environment.get_template("answer.txt.j2")
    lines = template.render(found, LABELS=LABELS, distance_of=words.distance, ADVERSARIES=ADVERSARIES).splitlines()
    return "\n".join(_wrapped(line) for line in lines)


def _wrapped(line: str) -> str:
    indent = " " * (len(line) - len(line.lstrip()))
    return textwrap.fill(line.strip(), 100, initial_indent=indent, subsequent_indent=f"{indent}  ")
