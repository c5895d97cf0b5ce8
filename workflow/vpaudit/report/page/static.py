"""The parts of the page that do not move: figures, tables, claims, provenance."""

import base64
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from vpaudit.base import stats
from vpaudit.base.errors import VpauditError
from vpaudit.base.labels import LABELS, METRICS, number
from vpaudit.report.captions import CAPTIONS, TITLES
from vpaudit.report.page import words
from vpaudit.report.results import ATTACKS, Results

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
            "words": "not run" if best is None else words.shows(best),
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


def found(study: Results, summary: dict) -> list[tuple[int, str]]:
    """How many claims came to each verdict."""
    verdicts = pd.Series([claim["verdict"] for claim in summary["claims"]]).value_counts()
    return [(int(count), verdict) for verdict, count in verdicts.items()]


def figure(name: str, folder: Path, study: Results, summary: dict) -> dict:
    path = folder / f"{name}.png"
    if not path.exists():
        raise VpauditError(f"{path} does not exist", "run `make figures`, which draws it")
    caption = CAPTIONS[name].format(candidates=f"{study.candidates:,}", draws=study.draws)
    images, seed = words.images(study), study.config["seed"]
    if name == GRID:
        shown = pd.read_csv(folder / f"{name}.csv")["image"].nunique()
        note = f"{shown} of n = {study.images} {images}; seed {seed}."
    else:
        note = (
            f"n = {study.images} {images}; bands and bars are 95 % intervals by bootstrap over images "
            f"({stats.RESAMPLES:,} resamples); seed {seed}."
        )
    shows = {"metrics_vs_mu": _shows_curves, "consistency": _shows_consistency, "prior_ladder": _shows_ladder}
    source = base64.b64encode(path.read_bytes()).decode()
    return {
        "name": name,
        "title": TITLES[name],
        "src": f"data:image/png;base64,{source}",
        "caption": f"{caption} {note}",
        "shows": shows[name](study) if name in shows else "",
        "size": _pixels(path),
    }


def _pixels(path: Path) -> tuple[int, int]:
    """Width and height of a PNG, from its header."""
    head = path.read_bytes()[16:24]
    return int.from_bytes(head[:4]), int.from_bytes(head[4:])


def _shows_curves(study: Results) -> str:
    """The paper's attack, DDIM, beside both bounds at the grid's ends and middle."""
    curve = study.curve("unconditional", "ddim", "mse").set_index("mu")
    law, best = (study.bound(name, "mse").set_index("mu")["value"] for name in ("uninformed", "rero"))
    shown = [mu for mu in dict.fromkeys((study.mu[0], study.mu[len(study.mu) // 2], study.mu[-1])) if mu in curve.index]
    sentences = [
        f"At µ = {mu:g} the mean squared error of DDIM, the paper’s attack, is {number(curve.loc[mu, 'value'])} "
        f"({number(curve.loc[mu, 'low'])} to {number(curve.loc[mu, 'high'])}); an uninformed adversary expects "
        f"{number(law.loc[mu])}, one with candidates {_small(best.loc[mu])}."
        for mu in shown
        if mu in law.index and mu in best.index
    ]
    return " ".join(sentences)


def _small(value: float) -> str:
    return number(value) if value >= 1e-4 else "less than 0.0001"


def _shows_consistency(study: Results) -> str:
    metric = "ssim" if "ssim" in study.measured else study.measured[0]
    found = list(study.rank_correlations(metric)[["mu", "value", "low", "high"]].itertuples(index=False, name=None))
    if not found:
        return "Fewer than two draws an image: agreement could not be computed."
    positive = sum(low > 0 for _, _, low, _ in found)
    (mu1, v1, l1, h1), (mu2, v2, l2, h2) = min(found, key=lambda f: f[1]), max(found, key=lambda f: f[1])
    return (
        f"Measured by {METRICS[metric].label}, images whose draws agree more are also closer to their targets at "
        f"{positive} of {len(found)} noise levels (interval above zero). The correlation runs from {v1:.2f} "
        f"({l1:.2f} to {h1:.2f}) at µ = {mu1:g} to {v2:.2f} ({l2:.2f} to {h2:.2f}) at µ = {mu2:g}."
    ).replace("-", "−")


def _shows_ladder(study: Results) -> str:
    parts = []
    for prior, text, pick in (
        ("true_class", "Knowing the class changes the squared error of the best guess most", lambda v: v.idxmin()),
        ("wrong_class", "believing a wrong one", lambda v: v.idxmax()),
    ):
        ratio = study.ratio((prior, "posterior_mean"), ("unconditional", "posterior_mean"), "mse")
        if len(ratio):
            row = ratio.loc[pick(ratio["value"])]
            parts.append(
                f"{text} at µ = {row['mu']:g}, to {row['value']:.2f} times ({row['low']:.2f} to {row['high']:.2f})"
            )
    return "; ".join(parts) + "." if parts else ""


def verdict(claim: dict) -> dict:
    def short(value):
        return "–" if value is None else f"{value:.3g}".replace("-", "−")

    interval = "–" if claim["value"] is None else f"{short(claim['low'])} to {short(claim['high'])}"
    texts = {key: words.pretty(claim[key]) for key in ("claim", "paper", "measured", "note")}
    mark = MARKS.get(claim["verdict"], "part")
    return {**claim, **texts, "number": short(claim["value"]), "interval": interval, "mark": mark}


def settings(config: dict) -> str:
    """The configuration as YAML; where the images are private, nothing that says where they lay."""
    data = config["data"]
    if data.get("folder"):
        data = {**data, **{key: HIDDEN for key in ("name", "folder", "under") if data.get(key)}}
    return yaml.safe_dump({**config, "data": data}, sort_keys=False, allow_unicode=True)


def known(value, form: str = "{}") -> str:
    """A value in the given form, or that it was not recorded."""
    return "not recorded" if value is None else form.format(value)


def duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"
