"""What an audit answers, from the tables of its study: what is left visible, how much noise hides it, how sure that is.

Every number is one of the tables' with its interval over the images; what is not known is reported as such.
"""

import textwrap
from dataclasses import asdict
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd

from vpaudit.base import files, stats
from vpaudit.base.errors import VpauditError
from vpaudit.base.labels import LABELS, METRICS, number, power
from vpaudit.commands.audit.budget import Setup
from vpaudit.measure import prior_mismatch
from vpaudit.privacy import accounting
from vpaudit.report import words
from vpaudit.report.paper_claims import Threshold, threshold
from vpaudit.report.results import Results
from vpaudit.study.layout import Layout

ATTACKS = ("ddim", "posterior_mean")  # the paper's, and the one of least squared error; the better one counts
STRONGER = (
    "This is what these attacks reach with this prior. An adversary with a better prior, or with candidates for the "
    "image, may see more: the noise found here is a lower estimate of what is needed, and no guarantee."
)


def build(layout: Layout, setup: Setup, facts: dict) -> dict:
    """The whole answer, as what JSON knows (NaN as null)."""
    study = Results(layout.results)
    ends = [threshold(study, attack, metric, "others") for attack in ATTACKS for metric in study.measured]
    distance = distances(pd.read_parquet(layout.table("domain")), study, setup)
    return files.plain(
        {
            **facts,
            "budget": asdict(setup.budget) if setup.budget else None,
            "delta": setup.delta,
            "asked": [asdict(a) for a in setup.asked],
            "visible": [row for a in setup.asked if a.mu in study.mu for row in visible(study, a.mu)],
            "candidates": study.candidates,
            "named": {f"{mu:g}": float(words.at(study.bound("rero", "gamma"), mu)["value"]) for mu in study.mu},
            "thresholds": [asdict(end) for end in ends],
            "recommendation": recommend(ends, study, setup),
            "distance": distance,
            "warnings": [*facts["warnings"], *_warnings(distance, study), STRONGER],
            "notes": files.read_json(layout.summary)["notes"],
        }
    )


def visible(study: Results, mu: float) -> list[dict]:
    """At one mu, for each attack and metric: against the own target, against others', and the share recovered.

    Returns:
        Rows whose `gap` is by how much output is closer to its own target, as in `Results.gap`.
    """
    rows = []
    for attack in ATTACKS:
        share = words.at(study.recovered(attack), mu)
        recovered = {"recovered": share["value"], "recovered_low": share["low"], "recovered_high": share["high"]}
        for metric in study.measured:
            run = ("unconditional", attack, metric)
            tables = {"own": study.grid(*run), "other": study.others(attack, metric), "gap": study.gap(*run)}
            row = {"mu": mu, "attack": attack, "metric": metric, "n": study.images}
            for name, values in tables.items():
                value, low, high = (float(v) for v in stats.bootstrap(values[mu].to_numpy()))
                row |= {name: value, f"{name}_low": low, f"{name}_high": high}
            rows.append(row | recovered)
    return rows


def recommend(ends: list[Threshold], study: Results, setup: Setup) -> dict:
    """The smallest noise multiplier at which no attack does better, in any metric, than on an unrelated image.

    Returns:
        state, attack, metric; mu with low, high; and for the mechanism asked about, `one_round` and `all_rounds`, each
        with noise_multiplier, low, high and the epsilon of the whole training at noise_multiplier and at high.
    """
    order = {"below": 0, "inside": 1, "above": 2}
    worst = min(ends, key=lambda end: (order[end.state], end.value if end.state == "inside" else 0.0))
    base = {"state": worst.state, "attack": worst.attack, "metric": worst.metric, "n": worst.n}
    if worst.state == "above":
        mu, low, high = study.mu[-1], study.mu[-1], float("nan")
    elif worst.state == "below":
        mu, low, high = study.mu[0], float("nan"), study.mu[0] if np.isnan(worst.high) else worst.high
    else:  # an end of the interval at the grid's first mu is open: more noise may be needed
        mu, low, high = worst.value, worst.low if worst.low > study.mu[0] else float("nan"), worst.high
    found = {**base, "mu": mu, "low": low, "high": high, "one_round": _noise(setup, 1, mu, low, high)}
    found["all_rounds"] = _noise(setup, setup.steps, mu, low, high) if setup.steps > 1 else None
    return found


def _noise(setup: Setup, rounds: int, mu: float, low: float, high: float) -> dict:
    """Noise multipliers at which `rounds` releases of an image together have these mu, and the training's epsilon."""
    multiplier, most = np.sqrt(rounds) / mu, np.sqrt(rounds) / low
    return {
        "noise_multiplier": multiplier,
        "low": np.sqrt(rounds) / high,
        "high": most,
        "epsilon": _epsilon(setup, multiplier),
        "epsilon_at_high": _epsilon(setup, most),
    }


def _epsilon(setup: Setup, noise_multiplier: float) -> float:
    """epsilon of the training with another noise multiplier; NaN where it cannot be computed."""
    if np.isnan(noise_multiplier):
        return float("nan")
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
    environment.filters |= {"number": number, "power": power, "valued": words.valued, "percent": words.percent}
    template = environment.get_template("answer.txt.j2")
    lines = template.render(found, LABELS=LABELS, METRICS=METRICS, smaller=words.smaller).splitlines()
    return "\n".join(_wrapped(line) for line in lines)


def _wrapped(line: str) -> str:
    indent = " " * (len(line) - len(line.lstrip()))
    return textwrap.fill(line.strip(), 100, initial_indent=indent, subsequent_indent=f"{indent}  ")
