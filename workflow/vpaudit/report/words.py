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
from vpaudit.report.results import Results, ends

TITLE = re.compile(r"(?:[^,;(]|\([^)]*\))+")  # of images: up to a comma or semicolon that is in no parentheses
BLANK = "\u00a0"  # between a number and %, which stay on one line
STEPS = (0.1, 0.5, 0.85, 0.95)
WORDS = (
    "little more than what any image of this kind shows",
    "rough shape and brightness",
    "the kind of object and its outline",
    "a clear likeness",
    "nearly every detail",
)
NOTHING = "next to nothing of its own image"
UNTOLD = "nothing that could be told from guessing with so few images"
GUESSES = ("posterior_mean", "ddim", "ddpm", "few_step")  # the first of these that was run is the best guess


# ---------------------------------------------------------------- phrases


def valued(row, name: str = "") -> str:
    """A value with its interval, 0.554 [0.449, 0.668]; `name` before the columns value, low, high if there are more."""
    value, low, high = (number(row[key]) for key in _keys(name))
    return f"{value} [{low}, {high}]".replace("-", "−")


def percent(row, name: str = "") -> str:
    """A share with its interval, 86 % [84, 88]; `name` as for `valued`."""
    value, low, high = (_rounded(row[key]) for key in _keys(name))
    return f"{value}{BLANK}% [{low}, {high}]"


def whole(value: float) -> str:
    """A share in percent, without digits where it has none: 5 %, 0.5 %."""
    return f"{100 * value:.3g}{BLANK}%"


def _rounded(value: float | None) -> str:
    """A share in whole percent; of an interval without an end, as it is written in JSON too, "open"."""
    return str(round(100 * value)).replace("-", "−") if value is not None and np.isfinite(value) else "open"


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


def distance(metric: str) -> str:
    """What the share recovered is a share of."""
    label = METRICS[metric].label
    return f"1 − {label}" if METRICS[metric].higher_is_better else label


def ended(shares: pd.DataFrame, margins: tuple[float, ...]) -> str:
    """Up to which mu less than each margin is recovered; the largest margin of which none is small enough, and why."""
    last, found = float(shares["mu"].iloc[-1]), ends(shares, margins)
    shown = {end: margin for margin, end in reversed(found.items()) if not np.isnan(end)}  # of one end the least margin
    parts = [
        f"less than {whole(margin)} {'at every µ asked' if end == last else f'up to µ = {number(end)}'}"
        for end, margin in sorted(shown.items())
    ]
    if any(np.isnan(end) for end in found.values()):
        margin = max(m for m, end in found.items() if np.isnan(end))
        text = f"more than {whole(margin)}, or not shown to be less, at every µ asked"
        parts.append(f"{text} ({remedy(shares.iloc[0], margin)} would settle it)")
    return ", ".join(parts)


def remedy(row, margin: float) -> str:
    """What would show a share below a margin where it is not shown at the smallest mu, `row`."""
    if row["value"] < margin:
        return "more images"
    return "a smaller µ" if row["low"] >= margin else "a smaller µ, or more images,"


def named(study: Results, mu: float) -> str:
    """What reconstruction robustness allows at this mu; nothing where the bound was not computed."""
    gamma = at(study.bound("rero", "gamma"), mu)
    if gamma is None:
        return ""
    return (
        f"an adversary who knows only that the image is one of {study.candidates:,} candidates, all equally "
        f"likely, names it with a probability of at most {share(gamma['value'])}"
    )


def visible_budget(study: Results, mu: float) -> str:
    """How much of mu the strongest attack turns into success, by which metric; nothing where that was not measured."""
    rows = [row for metric in METRICS if (row := at(study.strongest(metric), mu)) is not None and row["low"] > 0]
    if not rows:
        return ""
    parts = [f"{number(row['low'])} by {METRICS[row['metric']].label}" for row in rows]
    attack = LABELS[rows[0]["attack"]]
    return (
        f"Of the budget µ = {mu:g} the attack ({attack}) turns at least {listed(parts)} into success that can be seen: "
        "it comes close to its target more often than it comes close to it on releases that do not hold it."
    )


def step(value: float) -> int:
    """Which of WORDS a share of removed error deserves."""
    return int(np.searchsorted(STEPS, value, side="right"))


def shows(row, margin: float) -> str:
    """What a best guess shows, by the share recovered with its limits: a row of `Results.recovered`."""
    if row["upper"] < margin:
        return f"{NOTHING} (less than {whole(margin)})"
    return f"{UNTOLD} (up to {whole(row['upper'])})" if row["low"] <= 0 else WORDS[step(row["value"])]


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
    near, pictures, estimates, levels = study.recovered(guess), _by_metric(study), _own_estimates(study), []
    for mu in study.mu:
        row = at(near, mu)
        sentences = [
            "" if row is None else _recovers(study, row, guess, knows),
            pictures.get(mu, ""),
            _beside_bounds(study, guess, mu),
            visible_budget(study, mu),
            estimates.get(mu, ""),
        ]
        levels.append({
            "mu": mu,
            "epsilon": study.epsilon(mu),
            "shows": "not measured" if row is None else shows(row, study.margin),
            "sentences": [s for s in sentences if s],
        })  # fmt: skip
    return levels


def _recovers(study: Results, row, guess: str, knows: str) -> str:
    return (
        f"At ε = {number(study.epsilon(row['mu']))} (µ = {row['mu']:g}) an attacker who knows {knows} recovers "
        f"{shows(row, study.margin)}: the squared error of its best guess ({LABELS.get(guess, guess)}) is "
        f"{smaller(row)}."
    )


def _by_metric(study: Results) -> dict[float, str]:
    """By mu, of the paper's attack in each metric: how much closer it is to its own target than to other images."""
    parts: dict[float, list[str]] = {}
    for metric in study.measured:
        for _, row in study.recovered("ddim", metric).iterrows():
            parts.setdefault(row["mu"], []).append(f"{percent(row)} by {distance(metric)}")
    start = "One plausible picture (DDIM) recovers"
    return {mu: f"{start} {listed(found)} of the distance between images." for mu, found in parts.items()}


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
    off = np.stack(stats.ratio(guessed.to_numpy(), true.to_numpy())) - 1
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


def plain_words(study: Results) -> list[str]:
    """Each noise level from which the attack shows more, and where reconstruction ends."""
    sentences, reached = [], -2
    for _, row in study.recovered(best_guess(study)).iterrows():
        level = -1 if row["low"] <= 0 or row["upper"] < study.margin else step(row["value"])
        if level > reached:
            budget = f"µ = {row['mu']:g} (ε = {number(study.epsilon(row['mu']))})"
            start = f"At {budget}, the strongest noise tested," if reached < -1 else f"From {budget} on"
            what = shows(row, study.margin)
            sentences.append(f"{start} the attack’s best guess shows {what}: its squared error is {smaller(row)}.")
            reached = level
    return sentences + end_of_success(study)


def end_of_success(study: Results, attack: str = "ddim") -> list[str]:
    """Up to which mu less than each margin is recovered; metrics with one answer together."""
    answers: dict[str, list[str]] = {}
    for metric in study.measured:
        shares = study.recovered(attack, metric)
        if len(shares):
            answers.setdefault(ended(shares, study.margins), []).append(distance(metric))
    if not answers:
        return []
    texts = [f"by {listed(names)}, {answer}" for answer, names in answers.items()]
    return [
        "Is there noise so strong that nothing is recovered? A best guess recovers something at every noise, so the "
        "question needs a margin, and an upper 95 % limit below it. Of the distance between images, "
        f"{LABELS[attack]} recovers {'; '.join(texts)}."
    ]


def knowledge(study: Results) -> list[str]:
    """What each attack knew of sigma and lambda, in one sentence if it is the same for all."""
    known = (
        study.metrics.drop_duplicates(["attack", "knowledge"]).groupby("knowledge", sort=False)["attack"].apply(list)
    )
    told = {label: listed([LABELS.get(a, a) for a in attacks]) for label, attacks in known.items()}
    usual = [label for label in told if label in ("sigma known, lambda known", "known")]
    if len(usual) == len(told):
        return [
            "It knows the noise strength σ and the clipping factor λ exactly. λ reveals how large the image’s norm is."
        ]
    spelled = {label: label.replace("sigma", "σ").replace("lambda", "λ") for label in told}
    exactly = "the noise strength σ and the clipping factor λ, which reveals the image’s norm, exactly"
    return [f"What is known to {told[k]}: {exactly if k in usual else spelled[k]}." for k in told]


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
    if not name:
        return "images (which was not recorded)"
    named = TITLE.match(titled(name))  # a card's title goes on to tell sizes and splits
    return f"the training images of {named[0]}"


def titled(text: str) -> str:
    """Names of data set cards replaced by their titles."""
    for name, title in _titles().items():
        text = re.sub(rf"\b{name}\b", title, text)
    return text


@cache
def _titles() -> dict[str, str]:
    cards = yaml.safe_load((Path(__file__).parents[1] / "data/cards.yaml").read_text(encoding="utf-8"))
    return {name: re.split(r" \(|,", card["title"])[0] for name, card in cards.items()}
