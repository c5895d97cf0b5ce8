"""What an audit answers, from the tables of its study: what is left visible, how much noise hides it, how sure that is.

Every number is one of the tables' with its interval over the images; what cannot be said is said to be so.
"""

from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import pandas as pd

from vpaudit.base import files, stats
from vpaudit.base.errors import VpauditError
from vpaudit.base.labels import LABELS, METRICS, number, power
from vpaudit.commands.audit.budget import Setup
from vpaudit.measure import prior_mismatch
from vpaudit.privacy import accounting
from vpaudit.report.paper_claims import _plain, end_of_success
from vpaudit.report.results import Results
from vpaudit.study.layout import Layout

ATTACKS = ("ddim", "posterior_mean")  # the paper's, and the one of least squared error; the better one counts
BASELINE = "reconstruction_vs_other"  # bland output is near every image: only nearness to its own target is success
STRONGER = (
    "This is what these attacks reach with this prior. An adversary with a better prior, or with candidates for the "
    "image, may see more: the noise found here is a lower estimate of what is needed, and no guarantee."
)


@dataclass(frozen=True)
class Threshold:
    """Where an attack's success ends in a metric.

    state: "inside" the grid; "below" it: output is nearer its own target even at the smallest mu; "above": not even at
    the largest.
    """

    attack: str
    metric: str
    state: Literal["below", "inside", "above"]
    value: float
    low: float
    high: float
    n: int


def build(layout: Layout, setup: Setup, facts: dict) -> dict:
    """The whole answer, as what JSON knows (NaN as null)."""
    study = Results(layout.results)
    ends = thresholds(study)
    distance = distances(pd.read_parquet(layout.table("domain")), study, setup)
    return _plain(
        {
            **facts,
            "budget": asdict(setup.budget) if setup.budget else None,
            "delta": setup.delta,
            "asked": [asdict(a) for a in setup.asked],
            "visible": [row for a in setup.asked if a.mu in study.mu for row in visible(study, a)],
            "candidates": study.candidates,
            "named": {f"{mu:g}": _gamma(study, mu) for mu in study.mu},
            "thresholds": [asdict(end) for end in ends],
            "recommendation": recommend(ends, study, setup),
            "distance": distance,
            "warnings": [*facts["warnings"], *_warnings(distance, study), STRONGER],
            "notes": files.read_json(layout.summary)["notes"],
        }
    )


def visible(study: Results, asked) -> list[dict]:
    """At one mu, for each attack and metric: against the own target, against others', and the share recovered."""
    rows = []
    for attack in ATTACKS:
        share = study.recovered(attack).set_index("mu").loc[asked.mu]
        for metric in study.measured:
            own, other = study.grid("unconditional", attack, metric)[asked.mu], study.others(attack, metric)[asked.mu]
            row = {"mu": asked.mu, "attack": attack, "metric": metric, "n": len(own)}
            for name, values in (("own", own), ("other", other), ("gap", own - other)):
                value, low, high = (float(v) for v in stats.bootstrap(values.to_numpy()))
                row |= {name: value, f"{name}_low": low, f"{name}_high": high}
            rows.append(
                {**row, "recovered": share["value"], "recovered_low": share["low"], "recovered_high": share["high"]}
            )
    return rows


def _gamma(study: Results, mu: float) -> float:
    rows = study.bound("rero", "gamma")
    return float(rows.loc[np.isclose(rows["mu"], mu), "value"].iloc[0])


def thresholds(study: Results) -> list[Threshold]:
    """Where success ends, by attack and metric, from the claim of that name."""
    found = []
    for attack in ATTACKS:
        for claim in end_of_success(study, attack):
            if claim.id.endswith(BASELINE):
                metric = claim.id.removeprefix("end_of_success_").removesuffix(f"_{BASELINE}")
                state = "inside"
                if np.isnan(claim.value):
                    state = "above" if claim.by_mu[-1]["value"] <= 0 else "below"
                elif claim.value <= study.mu[0]:
                    state = "below"
                found.append(Threshold(attack, metric, state, claim.value, claim.low, claim.high, claim.n))
    return found


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
            f"The images are far from what this prior knows: its error on them is {_percent(whole['share'])} larger "
            "than on its own kind. An adversary with a prior of their kind sees more: all of this is a lower estimate "
            "of the risk."
        )
    elif whole["high"] < 0 and -whole["share"] > prior_mismatch.FAR:
        found.append(
            f"The images are simpler than those this prior knows ({_percent(-whole['share'])} less error), which does "
            "not make them its kind. A prior of their kind may see more: take this for a lower estimate of the risk."
        )
    found += [
        f"{METRICS[m].label} could not be computed here; the answer rests on the other metrics." for m in study.missing
    ]
    return found


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


# ---------------------------------------------------------------- as text


def text(found: dict) -> str:
    """The answer for people, lines of at most 100 characters or so."""
    parts = [
        _head("Images", [*found["reading"], f"{found['images']} attacked, brought to {found['shape']}"]),
        _head("Budget", _budget_lines(found)),
        _head("What is left visible", _visible_lines(found)),
        _head("How much noise hides them", _noise_lines(found)),
        _head("How far they are from what the prior knows", _distance_lines(found)),
        _head("Bear in mind", [*found["warnings"], *found["notes"]]),
    ]
    return "\n\n".join(parts)


def _head(title: str, lines: list[str]) -> str:
    import textwrap

    wrapped = [textwrap.fill(line, 100, initial_indent="  ", subsequent_indent="    ") for line in lines]
    return "\n".join([title, *wrapped])


def _budget_lines(found: dict) -> list[str]:
    lines, known = [], found["budget"]
    if known:
        lines.append(
            f"noise multiplier {number(known['noise_multiplier'])}, sample rate {known['sample_rate']:g}, "
            f"{known['steps']:,} steps: ε = {number(known['epsilon'])} at δ = {power(known['delta'])}"
        )
    for asked in found["asked"]:
        epsilon = "beyond 100,000" if asked["epsilon"] is None else number(asked["epsilon"])
        lines.append(f"µ = {asked['mu']:g}: {asked['meaning']} (alone ε = {epsilon})")
    return lines


def _visible_lines(found: dict) -> list[str]:
    lines = [] if found["visible"] else ["no µ that was asked for could be attacked: see below"]
    for row in found["visible"]:
        if row["metric"] == found["visible"][0]["metric"]:
            share = f"its squared error is {_share(row)} smaller against its own image than against others"
            lines.append(f"µ = {row['mu']:g}, {LABELS[row['attack']]}: {share}")
        closer = (row["gap"] > 0) == METRICS[row["metric"]].higher_is_better
        sure = row["gap_low"] > 0 or row["gap_high"] < 0
        verdict = ("closer to its own" if closer else "no closer to its own") if sure else "cannot be told apart"
        lines.append(f"  {METRICS[row['metric']].label} {_triple(row, 'own')} to its own image, "
                     f"{_triple(row, 'other')} to others: {verdict}")  # fmt: skip
    asked = [a["mu"] for a in found["asked"] if f"{a['mu']:g}" in found["named"]]
    for mu in asked:
        lines.append(
            f"µ = {mu:g}: an adversary who holds the image among {found['candidates']:,} candidates names it with "
            f"probability {number(found['named'][f'{mu:g}'])} at most (a theorem)"
        )
    return lines


def _share(row: dict) -> str:
    return f"{100 * row['recovered']:.0f} % [{100 * row['recovered_low']:.0f}, {100 * row['recovered_high']:.0f}]"


def _triple(row: dict, name: str) -> str:
    return f"{number(row[name])} [{number(row[f'{name}_low'])}, {number(row[f'{name}_high'])}]"


def _noise_lines(found: dict) -> list[str]:
    best = found["recommendation"]
    who = f"{LABELS[best['attack']]}, by {METRICS[best['metric']].label}, n = {best['n']}"
    once = best["one_round"]
    if best["state"] == "below":
        least = "" if best["high"] <= best["mu"] else f" (95 %: more than {number(once['low'])})"
        return [
            f"Even at µ = {best['mu']:g}, the strongest noise tested, output is on average closer to its own image "
            f"than to others ({who}): seen in one round, it needs a noise multiplier above "
            f"{number(once['noise_multiplier'])}{least}."
        ]
    if best["state"] == "above":
        return [
            f"At no µ up to {best['mu']:g} was output closer to its own image than to others: a noise multiplier of "
            f"{number(once['noise_multiplier'])} already hid them from these attacks."
        ]
    lines = [
        f"The attacks do no better than on an unrelated image below µ = {number(best['mu'])} "
        f"[{_open(best['low'], 'the grid’s first')}, {number(best['high'])}] ({who}; by the others less noise does)."
    ]
    for key, title in (("one_round", "seen in one round"), ("all_rounds", "seen in all rounds")):
        if best[key]:
            lines.append(f"Smallest noise multiplier, an image {title}: {_multiplier(best[key])}")
    return lines


def _multiplier(noise: dict) -> str:
    words = f"{number(noise['noise_multiplier'])} [{number(noise['low'])}, {_open(noise['high'], 'open')}]"
    costs = [
        f"ε = {number(noise[key])} at {name}"
        for key, name in (("epsilon", "it"), ("epsilon_at_high", "the upper end, which is the safer choice"))
        if noise[key] is not None
    ]
    return words + (f"; the whole training then has {', '.join(costs)}" if costs else "")


def _open(value: float | None, otherwise: str) -> str:
    return otherwise if value is None else number(value)


def _distance_lines(found: dict) -> list[str]:
    def line(row: dict, where: str) -> str:
        share = f"{100 * row['share']:+.0f} % [{100 * row['share_low']:+.0f}, {100 * row['share_high']:+.0f}]"
        nats = f"{row['nats']:+,.3g} [{row['low']:+,.3g}, {row['high']:+,.3g}] nats an image"
        return f"{where}: excess error {share}, {nats}".replace("-", "−")

    distance = found["distance"]
    lines = [line(row, f"down to the noise of µ = {row['mu']:g}") for row in distance["at"]]
    lines.append(line(distance["all"], f"down to noise {distance['all']['s']:g} on a pixel"))
    return [*lines, f"measured against {distance['reference']} of the prior’s own kind; n = {distance['all']['n']}"]
