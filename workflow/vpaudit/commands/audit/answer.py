"""What an audit answers, from the tables of its study: what is left visible, how much noise hides it, how sure that is.

Every number is one of the tables' with its interval over the images; what is not known is reported as such.
"""

import re
import textwrap
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd

from vpaudit.base import files, stats
from vpaudit.base.adversaries import ADVERSARIES
from vpaudit.base.errors import VpauditError
from vpaudit.base.labels import LABELS, METRICS, number, power
from vpaudit.commands.audit import recognition, seen
from vpaudit.commands.audit.budget import Setup
from vpaudit.measure import prior_mismatch
from vpaudit.privacy import accounting, adversaries
from vpaudit.report import words
from vpaudit.report.results import Results
from vpaudit.study.layout import Layout

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


def build(layout: Layout, setup: Setup, facts: dict, measure: Callable[[list[float]], dict] | None = None) -> dict:
    """The whole answer, as what JSON knows (NaN as null).

    Args:
        facts: of images and run; measure: from noise multipliers to what they cost, as of `utility.measure`.
    """
    study = Results(layout.results)
    found = [end(shares, study.margin, *about) for about, shares in seen.recovered(study).items()]
    distance = distances(pd.read_parquet(layout.table("domain")), study, setup)
    asked = [a.mu for a in setup.asked if a.mu in study.mu]
    best = recommend(found, study.mu, setup)
    noise = [*(b.noise_multiplier for b in setup.budgets), best["noise"][0]["noise_multiplier"]]
    unknown, sure, told = (pd.read_parquet(layout.table(t)) for t in ("participation", "believed", "recognised"))
    plain = files.plain(
        {
            **facts,
            "budgets": [asdict(b) for b in setup.budgets],
            "delta": setup.delta,
            "asked": [asdict(a) for a in setup.asked],
            "adversary": setup.adversary if setup.simulated else None,
            "adversaries": [
                who | known_of(setup, k, who["adversary"], sure, told)
                for k in range(len(setup.budgets))
                for who in seen.seen_by(setup, k, unknown)
            ],
            "visible": seen.visible_to_all(study, setup, unknown),
            "alike": recognition.alike(sure),
            "classes": recognition.classes(told),
            "visual_mu": [row for mu in asked for row in visual_mu(study, mu)],
            "named": {f"{mu:g}": words.named(study, mu) for mu in asked},
            "margin": study.margin,
            "ends": [asdict(e) for e in found],
            "recommendation": best,
            "utility": measure(noise) if measure else None,
            "distance": distance,
            "warnings": [*facts["warnings"], *_warnings(distance, study), *_unlike(recognition.alike(sure)), STRONGER],
            "notes": files.read_json(layout.summary)["notes"],
        }
    )
    return plain | {"statement": statement(plain)}


def known_of(setup: Setup, which: int, name: str, sure: pd.DataFrame, told: pd.DataFrame) -> dict:
    """What is recognised in what is made for an adversary of a training, of the tables `believed` and `recognised`."""
    part = recognition.part(setup, which, name)
    return {
        "picks": recognition.picks(told, part),
        "class": recognition.named_class(told, setup, which, name),
        "believed": recognition.believed(sure, part),
    }


def statement(found: dict) -> str:
    """The answer in one paragraph, for whoever decides on the noise to quote."""
    return re.sub(r"[ \n]+", " ", render("statement.txt.j2", found)).strip()  # a blank before % stays


def visual_mu(study: Results, mu: float) -> list[dict]:
    """At one mu, for each attack with the prior and each metric: how much of mu becomes success that can be seen.

    Returns:
        Rows of mu, attack, knows, metric, value and low (95 %, privacy/success.py); none where no release without the
        targets was attacked.
    """
    rows = study.visual_mu
    rows = rows[np.isclose(rows["mu"].astype(float), mu) & (rows["prior"] == "unconditional")]
    found = rows.assign(knows=[seen.knows(study, attack) for attack in rows["attack"]])
    columns = ["mu", "attack", "knows", "metric", "value", "low"]
    return sorted(found[columns].to_dict("records"), key=lambda row: row["knows"] == seen.UNTOLD)


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
    training = (multiplier, setup.sample_rate, setup.steps)
    named = {f"{n:,}": adversaries.named(name, *training, n) for n in recognition.CANDIDATES}
    most = adversaries.visual_mu_limit(name, *training, setup.delta)
    found = {"adversary": name, "noise_multiplier": multiplier, "epsilon": _epsilon(setup, multiplier)}
    return found | {"named": named, "visual_mu_limit": most}


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


def _unlike(alike: dict | None) -> list[str]:
    """The premise of what may be called real, where it does not hold."""
    if alike is None or alike["alike"]:
        return []
    much = f"{abs(100 * alike['more_error']):.0f} % {'more' if alike['more_error'] > 0 else 'less'}"
    return [
        "The images are not exchangeable with the public ones that told what may be called real: the "
        f"prior leaves {much} error on them (rank test, p = {alike['p']:.1g}). Nothing is then guaranteed of what is "
        "called real. Give --public images of their kind."
    ]


def text(found: dict) -> str:
    """The answer for people, lines of at most 100 characters or so."""
    return "\n".join(_wrapped(line) for line in render("answer.txt.j2", found).splitlines())


def render(name: str, found: dict, autoescape: bool = False) -> str:
    """The answer in one of the templates here."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, autoescape=autoescape,
    )  # fmt: skip
    filters = {"number": number, "power": power, "listed": words.listed, "distance": words.distance}
    environment.filters |= filters | {"whole": words.whole, "share": words.share, "percent": words.percent}
    return environment.get_template(name).render(found, LABELS=LABELS, ADVERSARIES=ADVERSARIES)


def _wrapped(line: str) -> str:
    indent = " " * (len(line) - len(line.lstrip()))
    return textwrap.fill(line.strip(), 100, initial_indent=indent, subsequent_indent=f"{indent}  ")
