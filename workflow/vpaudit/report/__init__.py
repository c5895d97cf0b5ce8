"""The study as one self-contained page for someone who is not a privacy expert. Every number comes from the tables."""

import base64
import re
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd
import yaml

from vpaudit import io, stats
from vpaudit.captions import CAPTIONS, TITLES
from vpaudit.errors import VpauditError
from vpaudit.names import LABELS, METRICS, number, power
from vpaudit.study import Study

STEPS = (0.1, 0.5, 0.85, 0.95)
WORDS = (
    "little more than what any image of this kind shows",
    "rough shape and brightness",
    "the kind of object and its outline",
    "a clear likeness",
    "nearly every detail",
)
NAMES = {"mu": "µ", "gamma": "γ", "ddim": "DDIM", "ddpm": "DDPM", "posterior_mean": "posterior mean"}
MARKS = {"confirmed": "yes", "not confirmed": "no", "inconclusive": "open"}


def build(results: Path, figures: Path, out: Path) -> None:
    """Write the page; the same tables and figures give the same bytes.

    Args:
        results, figures: results/<study>/ and figures/<study>/ as the stages before left them.
        out: the HTML file.
    """
    study, summary = Study(Path(results)), io.read_json(Path(results) / "summary.json")
    here = Path(__file__).parent
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(here), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["known"] = _known
    text = environment.get_template("template.html").render(
        style=(here / "style.css").read_text(encoding="utf-8"),
        study=study,
        delta=power(study.config["mechanism"]["delta"]),
        summary=summary,
        config=study.config,
        settings=_settings(study.config),
        found=_found(study, summary),
        plain=plain_words(study, summary),
        levels=_levels(study),
        steps=[f"{step:.0%}".replace("%", " %") for step in STEPS],
        values=[_values(study, metric) for metric in study.measured],
        figures=[_figure(name, Path(figures), study, summary) for name in TITLES],
        claims=[_claim(claim) for claim in summary["claims"]],
        missing=[METRICS[m].label for m in study.missing],
        wall=[(stage, _duration(seconds)) for stage, seconds in summary["wall_time"].items()],
    )
    with io.atomic(out) as temporary:
        temporary.write_text(text, encoding="utf-8")


def plain_words(study: Study, summary: dict) -> list[str]:
    """Sentences for people: each noise level from which the attack shows more, and whether it ever shows nothing."""
    shares, sentences, reached = _shares(study, "posterior_mean"), [], -1
    for _, row in shares.iterrows():
        step = _step(row["value"])
        if step > reached:
            budget = f"µ = {row['mu']:g} (ε = {number(study.epsilon(row['mu']))})"
            start = f"At {budget}, the strongest noise tested," if reached < 0 else f"From {budget} on"
            sentences.append(
                f"{start} the attack’s best guess shows {WORDS[step]}: its squared error is {_percent(row)} smaller "
                "against its own target than against other images."
            )
            reached = step
    return sentences + _end_of_success(study, summary)


def _step(share: float) -> int:
    """Which of WORDS a share of removed error deserves."""
    return int(np.searchsorted(STEPS, share, side="right"))


def _end_of_success(study: Study, summary: dict) -> list[str]:
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


def _shares(study: Study, attack: str) -> pd.DataFrame:
    """mu, value, low, high: by how much the output's squared error is smaller against its own target than others'.

    0 is output that would suit any image as well, however bland; 1 is the target. The measure against unrelated test
    images would not do: the mean of all images already halves the squared error that those have.
    """
    own = study.grid("unconditional", attack, "mse")
    other = study.others(attack, "mse").reindex(index=own.index, columns=own.columns)
    if own.empty:
        return pd.DataFrame(columns=["mu", "value", "low", "high"])
    if other.isna().any(axis=None):
        raise VpauditError("baselines.parquet lacks images of metrics.parquet", "run the stage `evaluate` again")
    both = np.stack([own.to_numpy(), other.to_numpy()], axis=1)
    value, low, high = stats.bootstrap(both, lambda rows: 1 - rows[:, 0].mean(0) / rows[:, 1].mean(0))
    return pd.DataFrame({"mu": own.columns, "value": value, "low": low, "high": high})


def _percent(row) -> str:
    return f"{100 * row['value']:.0f} % ({100 * row['low']:.0f} to {100 * row['high']:.0f} %)"


def _levels(study: Study) -> list[dict]:
    """One row a noise level: mu, epsilon, the noise on a pixel, how much nearer each attack comes, words for it."""
    noise = study.bound("uninformed", "mse").set_index("mu")["value"]
    shares = {a: _shares(study, a).set_index("mu") for a in ("posterior_mean", "ddim")}
    rows = []
    for mu in study.mu:
        row = {"mu": f"{mu:g}", "epsilon": number(study.epsilon(mu)), "words": "not run"}
        row["noise"] = number(float(np.sqrt(noise.loc[mu]))) if mu in noise.index else "–"
        for attack, table in shares.items():
            row[attack] = _percent(table.loc[mu]) if mu in table.index else "not run"
        if mu in shares["posterior_mean"].index:
            row["words"] = WORDS[_step(shares["posterior_mean"].loc[mu, "value"])]
        rows.append(row)
    return rows


def _values(study: Study, metric: str) -> dict:
    """A table of a metric's means, a row an attack, a column a mu."""
    rows = []
    for prior, attack in (
        ("none", "raw"), ("gaussian", "wiener"), ("unconditional", "posterior_mean"), ("unconditional", "ddim"),
        ("unconditional", "ddpm"),
    ):  # fmt: skip
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


def _found(study: Study, summary: dict) -> list[tuple[int, str]]:
    """How many claims came to each verdict."""
    verdicts = pd.Series([claim["verdict"] for claim in summary["claims"]]).value_counts()
    return [(int(count), verdict) for verdict, count in verdicts.items()]


def _figure(name: str, folder: Path, study: Study, summary: dict) -> dict:
    path = folder / f"{name}.png"
    if not path.exists():
        raise VpauditError(f"{path} does not exist", "run `make figures`, which draws it")
    caption = CAPTIONS[name].format(candidates=f"{study.candidates:,}", draws=study.draws)
    data, seed = study.config["data"]["name"], study.config["seed"]
    if name == "reconstructions":
        shown = pd.read_csv(folder / f"{name}.csv")["image"].nunique()
        note = f"{shown} of n = {study.images} images of {data}; seed {seed}."
    else:
        note = (
            f"n = {study.images} images of {data}; bands and bars are 95 % intervals by bootstrap over images "
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


def _shows_curves(study: Study) -> str:
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


def _shows_consistency(study: Study) -> str:
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


def _shows_ladder(study: Study) -> str:
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


def _claim(claim: dict) -> dict:
    def short(value):
        return "–" if value is None else f"{value:.3g}".replace("-", "−")

    interval = "–" if claim["value"] is None else f"{short(claim['low'])} to {short(claim['high'])}"
    texts = {key: pretty(claim[key]) for key in ("claim", "paper", "measured", "note")}
    mark = MARKS.get(claim["verdict"], "part")
    return {**claim, **texts, "number": short(claim["value"]), "interval": interval, "mark": mark}


def pretty(text: str) -> str:
    """Names of columns as they are printed: mu as µ, lpips_vgg_64 as LPIPS-VGG, ddim as DDIM."""
    for name, metric in METRICS.items():
        text = re.sub(rf"\b{name}\b", metric.label, text)
    for name, label in NAMES.items():
        text = re.sub(rf"\b{name}\b", label, text)
    return text.replace("<=", "≤").replace(">=", "≥")


def _settings(config: dict) -> str:
    """The configuration as YAML; a folder of private images is not named."""
    data = config["data"]
    if data.get("folder"):
        data = {**data, "folder": "(not shown)"}
    return yaml.safe_dump({**config, "data": data}, sort_keys=False, allow_unicode=True)


def _known(value, form: str = "{}") -> str:
    """A value in the given form, or that it was not recorded."""
    return "not recorded" if value is None else form.format(value)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"
