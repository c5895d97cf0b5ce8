"""The parts of the page that do not move: figures, tables, claims, provenance."""

import base64
from pathlib import Path

import numpy as np
import yaml

from vpaudit.base import stats
from vpaudit.base.errors import VpauditError
from vpaudit.base.labels import LABELS, METRICS, number
from vpaudit.report import captions, words
from vpaudit.report.results import ATTACKS, Results

MARKS = {"confirmed": "yes", "not confirmed": "no", "inconclusive": "open"}
GRID = "reconstructions"  # the figure that shows images
HIDDEN = "(not shown)"
BOUNDS = ("uninformed", "rero")


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
    rows = []
    for prior, attack in ATTACKS:
        curve = study.curve(prior, attack, metric).set_index("mu")
        if len(curve):
            cells = [curve.loc[mu] if mu in curve.index else None for mu in study.mu]
            rows.append((LABELS[attack], [_cell(cell) for cell in cells]))
    label, higher = METRICS[metric].label, METRICS[metric].higher_is_better
    value, low, high = (float(v) for v in stats.bootstrap(study.unrelated(metric).to_numpy()))
    rows.append(("unrelated test images", [_cell({"value": value, "low": low, "high": high})] * len(study.mu)))
    return {"name": label, "closer": "higher" if higher else "lower", "rows": rows}


def _cell(row) -> tuple[str, str]:
    return ("–", "") if row is None else (number(row["value"]), f"{number(row['low'])} to {number(row['high'])}")


def figure(name: str, folder: Path, study: Results) -> dict:
    """A figure with its caption and what it shows in a sentence or two."""
    path = folder / f"{name}.png"
    if not path.exists():
        raise VpauditError(f"{path} does not exist", "run `make figures`, which draws it")
    shows = {"metrics_vs_mu": _shows_curves, "consistency": _shows_consistency, "prior_ladder": _shows_ladder}
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
    """The paper's attack, DDIM, beside both bounds at the grid's ends and middle."""
    curve, law, best = study.curve("unconditional", "ddim", "mse"), *(study.bound(n, "mse") for n in BOUNDS)
    sentences = []
    for mu in dict.fromkeys((study.mu[0], study.mu[len(study.mu) // 2], study.mu[-1])):
        mine, uninformed, candidates = (words.at(rows, mu) for rows in (curve, law, best))
        if all(row is not None for row in (mine, uninformed, candidates)):
            sentences.append(
                f"At µ = {mu:g} the mean squared error of DDIM, the paper’s attack, is {words.valued(mine)}; an "
                f"uninformed adversary expects {number(uninformed['value'])}, one with candidates "
                f"{_small(candidates['value'])}."
            )
    return " ".join(sentences)


def _small(value: float) -> str:
    return number(value) if value >= 1e-4 else "less than 0.0001"


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

    interval = "–" if claim["value"] is None else f"{short(claim['low'])} to {short(claim['high'])}"
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
