"""Sentences for people who are not privacy experts. Every number in them comes from the study's tables."""

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
NOTHING = "nothing of its own image: no better than guessing"
NAMES = {"mu": "µ", "gamma": "γ", "ddim": "DDIM", "ddpm": "DDPM", "posterior_mean": "posterior mean"}
GUESSES = ("posterior_mean", "ddim", "ddpm", "few_step")  # the first of these that was run is the best guess


def audit(study: Results, summary: dict) -> list[dict]:
    """What can be said of each noise level, from the strongest noise to the weakest.

    Args:
        summary: summary.json; of it only what the prior was trained on enters the sentences.

    Returns:
        mu, epsilon: float; shows: the shortest answer; sentences: what the attack recovers or that it guesses, by which
        metrics, how that compares with the bounds, and whether the attacker could tell. A sentence whose numbers a
        study lacks is left out.
    """
    knows, guess, measured = known_to(summary), best_guess(study), study.measured
    near = study.recovered(guess).set_index("mu") if guess else pd.DataFrame()
    estimates = _own_estimates(study)
    levels = []
    for mu in study.mu:
        sentences = [
            _recovers(study, near, guess, mu, knows),
            _by_metric(study, measured, mu),
            _beside_bounds(study, guess, mu),
            estimates.get(mu, ""),
        ]
        row = near.loc[mu] if mu in near.index else None
        levels.append({
            "mu": mu,
            "epsilon": study.epsilon(mu),
            "shows": "not measured" if row is None else shows(row),
            "sentences": [s for s in sentences if s],
        })  # fmt: skip
    return levels


def shows(row) -> str:
    """What a best guess shows, by the share of squared error it removes: value and low of its interval."""
    return NOTHING if row["low"] <= 0 else WORDS[step(row["value"])]


def best_guess(study: Results) -> str | None:
    """The attack whose output is taken for the best guess; None if the study ran none with the unconditional prior."""
    run = set(study.metrics.loc[study.metrics["prior"] == "unconditional", "attack"])
    return next((a for a in (*GUESSES, *sorted(run)) if a in run), None)


def _recovers(study: Results, near: pd.DataFrame, guess: str | None, mu: float, knows: str) -> str:
    if mu not in near.index:
        return ""
    row = near.loc[mu]
    start = f"At ε = {number(study.epsilon(mu))} (µ = {mu:g}) an attacker who knows {knows}"
    if row["low"] <= 0:
        return (
            f"{start} does, by squared error, no better than guessing: its best guess ({LABELS.get(guess, guess)}) is "
            f"as near to other images as to its own (difference {percent(row)})."
        )
    return (
        f"{start} recovers {WORDS[step(row['value'])]}: the squared error of its best guess "
        f"({LABELS.get(guess, guess)}) is {percent(row)} smaller against its own image than against other images."
    )


def _by_metric(study: Results, measured: list[str], mu: float) -> str:
    """The paper's attack against guessing, metric by metric: its own target beside those of other images, paired."""
    closer, open_ = [], []
    for metric in measured:
        gap = study.gap("unconditional", "ddim", metric)
        if mu in gap.columns:
            _, low, _ = stats.bootstrap(gap[mu].to_numpy())
            (closer if low > 0 else open_).append(METRICS[metric].label)
    if not closer and not open_:
        return ""
    parts = []
    if closer:
        parts.append(f"is closer to its own image than to others by {listed(closer)}")
    if open_:
        parts.append(f"cannot be told from a guess by {listed(open_)}")
    return f"One plausible picture (DDIM) {' and '.join(parts)}."


def _beside_bounds(study: Results, guess: str | None, mu: float) -> str:
    parts = []
    law = at(study.bound("uninformed", "mse"), mu)
    mine = at(study.curve("unconditional", guess, "mse"), mu) if guess else None
    if law is not None and mine is not None:
        unrelated, (value, low, high) = study.unrelated("mse").mean(), map(number, mine[["value", "low", "high"]])
        parts.append(
            f"the best guess’s mean squared error is {value} ({low} to {high}); "
            f"an attacker who knows nothing of images would expect {number(law['value'])}, two unrelated images "
            f"differ by {number(unrelated)}"
        )
    gamma = at(study.bound("rero", "gamma"), mu)
    if gamma is not None:
        parts.append(
            f"one who held the image among {study.candidates:,} candidates could name it with a probability of up to "
            f"{share(gamma['value'])}"
        )
    text = "; ".join(parts)
    return f"For comparison: {text}." if text else ""


def _own_estimates(study: Results) -> dict[float, str]:
    """By mu: what the attacker can tell of its own success, from its draws alone, beside what it achieved."""
    t = study.agreement
    t = t[(t["prior"] == "unconditional") & (t["metric"] == "mse")]
    if t.empty:
        return {}
    guessed, true = (t.pivot_table(index="image", columns="mu", values=key) for key in ("agreement", "achieved"))
    both = np.stack([guessed.to_numpy(), true.to_numpy()], axis=1)
    off = np.stack(stats.bootstrap(both, lambda rows: rows[:, 0].mean(0) / rows[:, 1].mean(0) - 1))
    start = f"Comparing its {study.draws} draws with each other, the attacker would put a draw’s squared error at"
    return {
        mu: f"{start} {number(guessed[mu].mean())}; it is {number(true[mu].mean())} ({_judged(*(100 * off[:, i]))})."
        for i, mu in enumerate(guessed.columns)
    }


def _judged(off: float, low: float, high: float) -> str:
    """How far an estimate of its own error is off, in percent with its interval."""
    if low <= 0 <= high:
        text = f"right within its interval: {low:.0f} to {high:.0f}{BLANK}% off"
    elif off > 0:
        text = f"{off:.0f}{BLANK}% too pessimistic, {low:.0f} to {high:.0f}{BLANK}%"
    else:
        text = f"{-off:.0f}{BLANK}% too confident, {-high:.0f} to {-low:.0f}{BLANK}%"
    return text.replace("-", "−")


def plain_words(study: Results, summary: dict) -> list[str]:
    """Each noise level from which the attack shows more, and whether it ever shows nothing."""
    sentences, reached = [], -2
    for _, row in study.recovered(best_guess(study)).iterrows():
        level = -1 if row["low"] <= 0 else step(row["value"])
        if level > reached:
            budget = f"µ = {row['mu']:g} (ε = {number(study.epsilon(row['mu']))})"
            start = f"At {budget}, the strongest noise tested," if reached < -1 else f"From {budget} on"
            sentences.append(
                f"{start} the attack’s best guess shows {shows(row)}: its squared error is {percent(row)} smaller "
                "against its own target than against other images."
            )
            reached = level
    return sentences + end_of_success(study, summary)


def step(value: float) -> int:
    """Which of WORDS a share of removed error deserves."""
    return int(np.searchsorted(STEPS, value, side="right"))


def end_of_success(study: Results, summary: dict) -> list[str]:
    """Whether there is noise so strong that output says nothing of its own image; metrics with one answer together."""
    answers: dict[str, list[str]] = {}
    for claim in summary["claims"]:
        match = re.fullmatch(r"end_of_success_(\w+)_reconstruction_vs_other", claim["id"])
        if match:
            inside = claim["value"] is not None and claim["value"] > study.mu[0]
            interval = f" ({claim['low']:.3g} to {claim['high']:.3g})" if inside else ""
            answers.setdefault(pretty(claim["measured"]) + interval, []).append(METRICS[match[1]].label)
    if not answers:
        return []
    texts = [f"by {' and '.join(names)}, {answer}" for answer, names in answers.items()]
    return [
        "Is there noise so strong that output (DDIM) is no closer to its own target than to those of other images? "
        f"B{'; '.join(texts)[1:]}."
    ]


def knowledge(study: Results) -> list[str]:
    """What each attack was told of sigma and lambda, in one sentence if it is the same for all."""
    told = study.metrics.drop_duplicates(["attack", "knowledge"]).groupby("knowledge", sort=False)["attack"].apply(list)
    usual = ("sigma known, lambda known", "known")
    if all(label in usual for label in told.index):
        return ["It knows the noise strength σ and the clipping factor λ exactly."]
    spelled = {label: label.replace("sigma", "σ").replace("lambda", "λ") for label in told.index}
    return [f"What {listed(attacks)} is told: {spelled[label]}." for label, attacks in told.items()]


def sure(study: Results) -> list[str]:
    """How sure the numbers are: what the intervals hold, how wide they are, and what they leave out."""
    found, n = study.recovered(best_guess(study)), study.images
    sentences = [
        f"Means are over n = {n} images. Brackets hold 95 % intervals: {stats.RESAMPLES:,} bootstrap resamples of the "
        "images, with the same resample for whatever is compared. Several draws of an image are averaged first: they "
        "are not independent.",
    ]
    if len(found):
        widest = found.loc[(found["high"] - found["low"]).idxmax()]
        sentences.append(
            f"The widest interval of “how much nearer” is {percent(widest)}, at µ = {widest['mu']:g}. With more images "
            "it would shrink as one over the square root of their number."
        )
    return [
        *sentences,
        f"The intervals do not hold what would change with another prior, another kind of images or another attack; "
        f"there is one prior and one seed ({study.config['seed']}) here.",
        "A picture in this page is a single case. Whether it is typical is said by the means and intervals, not by it.",
    ]


def images(study: Results) -> str:
    """What was audited, as a reader knows it; the name of a folder of local images is not told."""
    return "local images" if is_local(study) else f"images of {titled(study.config['data']['name'])}"


def is_local(study: Results) -> bool:
    """Whether the images came from the user's own folder or archive, and are therefore taken for private."""
    return bool(study.config["data"].get("folder"))


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
    cards = yaml.safe_load((Path(__file__).parents[2] / "data/cards.yaml").read_text(encoding="utf-8"))
    return {name: re.split(r" \(|,", card["title"])[0] for name, card in cards.items()}


def at(curve: pd.DataFrame, mu: float):
    """The row of a curve at this mu, or None."""
    rows = curve[np.isclose(curve["mu"].astype(float), mu)]
    return None if rows.empty else rows.iloc[0]


def percent(row) -> str:
    """A share with its interval: 86 % (84 to 88 %)."""
    value, low, high = (round(100 * row[key]) for key in ("value", "low", "high"))
    return f"{value}{BLANK}% ({low} to {high}{BLANK}%)".replace("-", "−")


def share(value: float) -> str:
    """A probability in percent, with three digits."""
    return f"{100 if value > 0.9995 else number(100 * value)}{BLANK}%"


def listed(names: list[str]) -> str:
    """a; a and b; a, b and c."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def pretty(text: str) -> str:
    """Names of columns as they are printed: mu as µ, lpips_vgg_64 as LPIPS-VGG, ddim as DDIM."""
    for name, metric in METRICS.items():
        text = re.sub(rf"\b{name}\b", metric.label, text)
    for name, label in NAMES.items():
        text = re.sub(rf"\b{name}\b", label, text)
    return text.replace("<=", "≤").replace(">=", "≥")
