"""The parts of the page that do not move: figures, tables, claims, provenance."""

import base64
from pathlib import Path

import numpy as np
import yaml

from vpaudit.base.errors import VpauditError
from vpaudit.base.labels import LABELS, METRICS, number
from vpaudit.report import captions, words
from vpaudit.report.results import BOUNDS, Results

MARKS = {"confirmed": "yes", "not confirmed": "no", "inconclusive": "open"}
GRID = "reconstructions"  # the figure that shows images
HIDDEN = "(not shown)"


def levels(study: Results) -> list[dict]:
    """One row a noise level: mu, epsilon, the noise on a pixel, how much nearer each attack comes, words for it."""
    noise, guess = study.bound("uninformed", "mse"), words.best_guess(study)
    near = {a: study.recovered(a) for a in dict.fromkeys((guess, "ddim"))}
    rows = []
    for mu in study.mu:
        law, best = words.at(noise, mu), words.at(near[guess], mu)
        ddim = words.at(near["ddim"], mu)
        rows.append({
            "mu": f"{mu:g}",
            "epsilon": number(study.epsilon(mu)),
            "noise": "–" if law is None else number(float(np.sqrt(law["value"]))),
            "guess": "not run" if best is None else words.percent(best),
            "ddim": "not run" if ddim is None else words.percent(ddim),
            "words": "not run" if best is None else words.shows(best, study.margin),
        })  # fmt: skip
    return rows


def values(study: Results, metric: str) -> dict:
    """A table of a metric's means, a row an attack, a column a mu."""
    label, higher = METRICS[metric].label, METRICS[metric].higher_is_better
    rows = [
        (LABELS[name], [_cell(words.at(curve, mu)) for mu in study.mu])
        for name, curve in study.compared(metric).groupby("look", sort=False)
        if name not in BOUNDS
    ]
    return {"name": label, "closer": "higher" if higher else "lower", "rows": rows}


def _cell(row) -> tuple[str, str]:
    return ("–", "") if row is None else (number(row["value"]), f"{number(row['low'])} to {number(row['high'])}")


def figure(name: str, folder: Path, study: Results) -> dict:
    """A figure with its caption and what it shows in a sentence or two."""
    path = folder / f"{name}.png"
    if not path.exists():
        raise VpauditError(f"{path} does not exist", "run `make figures`, which draws it")
    shows = {
        "metrics_vs_mu": _shows_curves,
        "success": _shows_success,
        "visual_mu": _shows_visual_mu,
        "consistency": _shows_consistency,
        "prior_ladder": _shows_ladder,
    }
    source = base64.b64encode(path.read_bytes()).decode()
    return {
        "name": name,
        "title": captions.CARDS[name]["title"],
        "src": f"data:image/png;base64,{source}",
        "caption": captions.text(name, study.config),
        "shows": shows[name](study) if name in shows else "",
        "size": _pixels(path),
    }


def _pixels(path: Path) -> tuple[int, int]:
    """Width and height of a PNG, from its header."""
    head = path.read_bytes()[16:24]
    return int.from_bytes(head[:4]), int.from_bytes(head[4:])


def _shows_curves(study: Results) -> str:
    """The paper's attack, DDIM, beside the uninformed bound at the grid's ends and middle."""
    curve, law = study.curve("unconditional", "ddim", "mse"), study.bound("uninformed", "mse")
    sentences = []
    for mu in dict.fromkeys((study.mu[0], study.mu[len(study.mu) // 2], study.mu[-1])):
        mine, uninformed = (words.at(rows, mu) for rows in (curve, law))
        if mine is not None and uninformed is not None:
            sentences.append(
                f"At µ = {mu:g} the mean squared error of DDIM, the paper’s attack, is {words.valued(mine)}; an "
                f"uninformed adversary expects {number(uninformed['value'])}."
            )
    return " ".join(sentences)


def _shows_success(study: Results) -> str:
    """Whether the theorem held."""
    cells, wrong = len(study.success), int(study.success["violated"].sum())
    held = "none of them is" if wrong == 0 else f"{wrong} of them are"
    return (
        f"Every success was held against the theorem’s bound, {cells:,} comparisons in all (attack, metric, threshold, "
        f"µ, reference): {held} above it at limits that hold for all together."
    )


def _shows_visual_mu(study: Results) -> str:
    """The strongest attack by MSE, at the grid's middle and end."""
    return " ".join(filter(None, (words.visible_budget(study, mu) for mu in study.mu[len(study.mu) // 2 :: 2])))


def _shows_consistency(study: Results) -> str:
    metric = "ssim" if "ssim" in study.measured else study.measured[0]
    found = study.rank_correlations(metric)
    if found.empty:
        return "Fewer than two samples an image: agreement could not be computed."
    least, most = found.loc[found["value"].idxmin()], found.loc[found["value"].idxmax()]
    return (
        f"Measured by {METRICS[metric].label}, images whose samples agree more are also closer to their targets at "
        f"{(found['low'] > 0).sum()} of {len(found)} noise levels (interval above zero). The correlation runs from "
        f"{words.valued(least)} at µ = {least['mu']:g} to {words.valued(most)} at µ = {most['mu']:g}."
    )


def _shows_ladder(study: Results) -> str:
    parts = []
    for prior, text, pick in (
        ("true_class", "Knowing the class changes the squared error of the best guess most", lambda v: v.idxmin()),
        ("wrong_class", "believing a wrong one", lambda v: v.idxmax()),
    ):
        ratio = study.ratio((prior, "posterior_mean"), ("unconditional", "posterior_mean"), "mse")
        if len(ratio):
            row = ratio.loc[pick(ratio["value"])]
            parts.append(f"{text} at µ = {row['mu']:g}, to {words.valued(row)} times")
    return "; ".join(parts) + "." if parts else ""


def verdict(claim: dict) -> dict:
    def short(value):
        return "–" if value is None else f"{value:.3g}".replace("-", "−")

    interval = "–" if claim["low"] is None else f"{short(claim['low'])} to {short(claim['high'])}"
    mark = MARKS.get(claim["verdict"], "part")
    return {**claim, "number": short(claim["value"]), "interval": interval, "mark": mark}


def settings(config: dict) -> str:
    """The configuration as YAML; where the images are private, nothing that says where they were."""
    data = config["data"]
    if data.get("folder"):
        data = {**data, **{key: HIDDEN for key in ("name", "folder", "under") if data.get(key)}}
    return yaml.safe_dump({**config, "data": data}, sort_keys=False, allow_unicode=True)


def known(value, form: str = "{}") -> str:
    """A value in the given form, or that it was not recorded."""
    return "not recorded" if value is None else form.format(value)


def duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"
