"""The study in sentences for people who are not privacy experts; the page and an audit's answer tell it with these.

Every number is one of the study's tables, with its 95 % interval over images in brackets.
"""

import re
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from vpaudit.base import stats
from vpaudit.base.labels import LABELS, METRICS, number
from vpaudit.report.results import Results

BLANK = "\u00a0"  # between a number and %, which stay on one line
STEPS = (0.1, 0.5, 0.85, 0.95)
WORDS = (
    "little more than what any image of this kind shows",
    "rough shape and brightness",
    "the kind of object and its outline",
    "a clear likeness",
    "nearly every detail",
)
NOTHING = "nothing of its own image, no better than guessing"
GUESSES = ("posterior_mean", "ddim", "ddpm", "few_step")  # the first of these that was run is the best guess


# ---------------------------------------------------------------- phrases


def valued(row, name: str = "") -> str:
    """A value with its interval, 0.554 [0.449, 0.668]; `name` before the columns value, low, high if there are more."""
    value, low, high = (number(row[key]) for key in _keys(name))
    return f"{value} [{low}, {high}]".replace("-", "−")


def percent(row, name: str = "") -> str:
    """A share with its interval, 86 % [84, 88]; `name` as for `valued`."""
    value, low, high = (round(100 * row[key]) for key in _keys(name))
    return f"{value}{BLANK}% [{low}, {high}]".replace("-", "−")


def _keys(name: str) -> tuple[str, str, str]:
    return (name, f"{name}_low", f"{name}_high") if name else ("value", "low", "high")


def share(value: float) -> str:
    """A probability in percent, with three digits."""
    return f"{100 if value > 0.9995 else number(100 * value)}{BLANK}%"


def listed(names: list[str]) -> str:
    """a; a and b; a, b and c."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def at(curve: pd.DataFrame, mu: float):
    """The row of a curve at this mu, or None."""
    rows = curve[np.isclose(curve["mu"].astype(float), mu)]
    return None if rows.empty else rows.iloc[0]


def smaller(row, name: str = "") -> str:
    """What `Results.recovered` measures, of a squared error that is named before."""
    return f"{percent(row, name)} smaller against its own image than against other images"


def named(study: Results, mu: float) -> str:
    """What reconstruction robustness allows at this mu; nothing where the bound was not computed."""
    gamma = at(study.bound("rero", "gamma"), mu)
    if gamma is None:
        return ""
    return (
        f"an adversary who holds the image among {study.candidates:,} candidates names it with a probability of at "
        f"most {share(gamma['value'])}"
    )


def step(value: float) -> int:
    """Which of WORDS a share of removed error deserves."""
    return int(np.searchsorted(STEPS, value, side="right"))


def shows(row) -> str:
    """What a best guess shows, by the share of squared error it removes: value and low of its interval."""
    return NOTHING if row["low"] <= 0 else WORDS[step(row["value"])]


def best_guess(study: Results) -> str | None:
    """The attack whose output is taken for the best guess; None if the study ran none with the unconditional prior."""
    run = set(study.metrics.loc[study.metrics["prior"] == "unconditional", "attack"])
    return next((a for a in (*GUESSES, *sorted(run)) if a in run), None)


# ---------------------------------------------------------------- each noise level


def audit(study: Results, summary: dict) -> list[dict]:
    """What can be said of each noise level, from the strongest noise to the weakest.

    Args:
        summary: summary.json; of it only what the prior was trained on enters the sentences.

    Returns:
        mu, epsilon: float; shows: the shortest answer; sentences: what the attack recovers or that it guesses, by which
        metrics, how that compares with the bounds, and whether the attacker could tell. A sentence whose numbers a
        study lacks is left out.
    """
    knows, guess = known_to(summary), best_guess(study)
    near, estimates, levels = study.recovered(guess), _own_estimates(study), []
    for mu in study.mu:
        row = at(near, mu)
        sentences = [
            "" if row is None else _recovers(study, row, guess, knows),
            _by_metric(study, mu),
            _beside_bounds(study, guess, mu),
            estimates.get(mu, ""),
        ]
        levels.append({
            "mu": mu,
            "epsilon": study.epsilon(mu),
            "shows": "not measured" if row is None else shows(row),
            "sentences": [s for s in sentences if s],
        })  # fmt: skip
    return levels


def _recovers(study: Results, row, guess: str, knows: str) -> str:
    start = f"At ε = {number(study.epsilon(row['mu']))} (µ = {row['mu']:g}) an attacker who knows {knows}"
    best = f"its best guess ({LABELS.get(guess, guess)})"
    if row["low"] <= 0:
        return (
            f"{start} does, by squared error, no better than guessing: {best} is as near to other images as to its "
            f"own (difference {percent(row)})."
        )
    return f"{start} recovers {WORDS[step(row['value'])]}: the squared error of {best} is {smaller(row)}."


def _by_metric(study: Results, mu: float) -> str:
    """The paper's attack against guessing, metric by metric: its own target beside those of other images, paired."""
    closer, open_ = [], []
    for metric in study.measured:
        gap = study.gap("unconditional", "ddim", metric)
        if mu in gap.columns:
            _, low, _ = stats.bootstrap(gap[mu].to_numpy())
            (closer if low > 0 else open_).append(METRICS[metric].label)
    parts = []
    if closer:
        parts.append(f"is closer to its own image than to others by {listed(closer)}")
    if open_:
        parts.append(f"cannot be told from a guess by {listed(open_)}")
    return f"One plausible picture (DDIM) {' and '.join(parts)}." if parts else ""


def _beside_bounds(study: Results, guess: str | None, mu: float) -> str:
    parts, law = [], at(study.bound("uninformed", "mse"), mu)
    mine = at(study.curve("unconditional", guess, "mse"), mu) if guess else None
    if law is not None and mine is not None:
        parts.append(
            f"the best guess’s mean squared error is {valued(mine)}; an attacker who knows nothing of images would "
            f"expect {number(law['value'])}, two unrelated images differ by {number(study.unrelated('mse').mean())}"
        )
    text = "; ".join(filter(None, [*parts, named(study, mu)]))
    return f"For comparison: {text}." if text else ""


def _own_estimates(study: Results) -> dict[float, str]:
    """By mu: what the attacker can tell of its own success, from its samples alone, beside what it achieved."""
    t = study.agreement
    t = t[(t["prior"] == "unconditional") & (t["metric"] == "mse")]
    if t.empty:
        return {}
    guessed, true = (t.pivot_table(index="image", columns="mu", values=key) for key in ("agreement", "achieved"))
    both = np.stack([guessed.to_numpy(), true.to_numpy()], axis=1)
    off = np.stack(stats.bootstrap(both, lambda rows: rows[:, 0].mean(0) / rows[:, 1].mean(0) - 1))
    start = f"Comparing its {study.draws} samples with each other, the attacker would put a sample’s squared error at"
    return {
        mu: f"{start} {number(guessed[mu].mean())}; it is {number(true[mu].mean())} ({_judged(*off[:, i])})."
        for i, mu in enumerate(guessed.columns)
    }


def _judged(off: float, low: float, high: float) -> str:
    """How far an estimate of its own error is off, as a share with its interval."""
    if low <= 0 <= high:
        return f"right within its interval: {percent({'value': off, 'low': low, 'high': high})} off"
    if off > 0:
        return f"too pessimistic by {percent({'value': off, 'low': low, 'high': high})}"
    return f"too confident by {percent({'value': -off, 'low': -high, 'high': -low})}"


# ---------------------------------------------------------------- the whole study


def plain_words(study: Results, summary: dict) -> list[str]:
    """Each noise level from which the attack shows more, and whether it ever shows nothing."""
    sentences, reached = [], -2
    for _, row in study.recovered(best_guess(study)).iterrows():
        level = -1 if row["low"] <= 0 else step(row["value"])
        if level > reached:
            budget = f"µ = {row['mu']:g} (ε = {number(study.epsilon(row['mu']))})"
            start = f"At {budget}, the strongest noise tested," if reached < -1 else f"From {budget} on"
            sentences.append(
                f"{start} the attack’s best guess shows {shows(row)}: its squared error is {smaller(row)}."
            )
            reached = level
    return sentences + end_of_success(study, summary)


def end_of_success(study: Results, summary: dict) -> list[str]:
    """Whether there is noise so strong that output says nothing of its own image; metrics with one answer together."""
    answers: dict[str, list[str]] = {}
    for claim in summary["claims"]:
        if (claim.get("family"), claim.get("baseline")) == ("end_of_success", "others"):
            inside = claim["value"] is not None and claim["value"] > study.mu[0]
            interval = f" [{claim['low']:.3g}, {claim['high']:.3g}]" if inside else ""
            answers.setdefault(claim["measured"] + interval, []).append(METRICS[claim["metric"]].label)
    if not answers:
        return []
    texts = [f"by {listed(names)}, {answer}" for answer, names in answers.items()]
    return [
        "Is there noise so strong that output (DDIM) is no closer to its own target than to those of other images? "
        f"B{'; '.join(texts)[1:]}."
    ]


def knowledge(study: Results) -> list[str]:
    """What each attack knew of sigma and lambda, in one sentence if it is the same for all."""
    known = (
        study.metrics.drop_duplicates(["attack", "knowledge"]).groupby("knowledge", sort=False)["attack"].apply(list)
    )
    usual = ("sigma known, lambda known", "known")
    if all(label in usual for label in known.index):
        return ["It knows the noise strength σ and the clipping factor λ exactly."]
    spelled = {label: label.replace("sigma", "σ").replace("lambda", "λ") for label in known.index}
    return [f"What {listed(attacks)} knows: {spelled[label]}." for label, attacks in known.items()]


def widest(study: Results) -> dict[str, str] | None:
    """The widest interval of what the best guess recovers, and its mu; None where no attack with a prior was run."""
    found = study.recovered(best_guess(study))
    if found.empty:
        return None
    row = found.loc[(found["high"] - found["low"]).idxmax()]
    return {"percent": percent(row), "mu": f"{row['mu']:g}"}


def images(config: dict) -> str:
    """What was audited, as a reader knows it; the name of a folder of local images is left out."""
    return "local images" if config["data"].get("folder") else f"images of {titled(config['data']['name'])}"


def known_to(summary: dict) -> str:
    """What the prior was trained on, as the object of "knows"."""
    name = summary["prior"].get("data")
    return titled(name).replace(", train split", "’s training images") if name else "images (which was not recorded)"


def titled(text: str) -> str:
    """Names of data set cards replaced by their titles."""
    for name, title in _titles().items():
        text = re.sub(rf"\b{name}\b", title, text)
    return text


@cache
def _titles() -> dict[str, str]:
    cards = yaml.safe_load((Path(__file__).parents[1] / "data/cards.yaml").read_text(encoding="utf-8"))
    return {name: re.split(r" \(|,", card["title"])[0] for name, card in cards.items()}
