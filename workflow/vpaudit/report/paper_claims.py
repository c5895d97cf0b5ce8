"""What the study found: the paper's claims, each with the number measured here, its interval and a verdict.

Everything is computed from the tables under results/<study>/; a claim that the study cannot test says so.
"""

import importlib.metadata
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import yaml

from vpaudit.base import files, machine, places, stats
from vpaudit.base.labels import LPIPS, MAIN_METRICS, METRICS
from vpaudit.report.claims import LEFT_OPEN, OURS, Claim, course_of, over_mu
from vpaudit.report.results import Results
from vpaudit.study.config import Config
from vpaudit.study.layout import Layout

PACKAGES = ("torch", "diffusers", "lpips", "torchmetrics", "opacus", "dp-accounting", "snakemake", "dvc", "vpaudit")
CARD_KEYS = ("data", "parameters", "images_seen", "passes", "steps", "steps_planned", "sha256")
PUBLIC_KEYS = ("repo", "revision", "licence", "trained_on", "source_sha256")  # of a prior fetched from the hub
MAIN = ("unconditional", "ddim")  # the paper's attack: deterministic DDIM from the matched noise level


def build(config: Config, layout: Layout) -> dict:
    """The content of summary.json."""
    study = Results(layout.results)
    makers = (
        beats_uninformed, below_rero, grows_with_mu, end_of_success, ddim_below_ddpm, agreement_predicts,
        prior_matters, beats_the_weaker,
    )  # fmt: skip
    claims = [claim for make in makers for claim in make(study)]
    claims += [Claim(**c) for n in config.experiments.with_study for c in files.read_json(layout.experiment_claims(n))]
    card = layout.prior_card
    return {
        "study": config.study,
        "headline": headline(claims),
        "claims": [files.plain(asdict(claim)) for claim in claims],
        "images": config.data.images,
        "mu": study.mu,
        "seed": config.seed,
        "attacks": [a.model_dump() for a in config.attacks],
        "prior": {key: card.get(key) for key in CARD_KEYS} | {k: card[k] for k in PUBLIC_KEYS if k in card},
        "notes": notes(study, card),
    }


def run(layout: Layout) -> dict:
    """The content of run.json: what differs between runs that found the same."""
    return {
        "commit": places.commit(),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "hardware": machine.describe(),
        "wall_time": wall_time(layout),
    }


def measured_grids(study: Results, attack: str = "ddim") -> Iterator[tuple[str, int, pd.DataFrame]]:
    """(metric, sign, grid) of an attack for each main metric; sign * metric falls as output comes closer."""
    for metric in MAIN_METRICS:
        grid = study.grid("unconditional", attack, metric)
        if not grid.empty:
            yield metric, -1 if METRICS[metric].higher_is_better else 1, grid


@cache
def _texts() -> dict[str, dict[str, str]]:
    return yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))


def texts(family: str, metric: str, **facts) -> dict[str, str]:
    """name, claim, paper, measured and note of a family, about a metric; {mu} is left for `over_mu` to fill."""
    told = {"paper": OURS, "note": "", **_texts()[family]}
    return {key: text.format(label=METRICS[metric].label, mu="{mu}", **facts) for key, text in told.items()}


def over_grid(
    id_: str, course: pd.DataFrame, limit: float, above: bool, about: dict[str, str], told: dict[str, str], **how: bool
) -> list[Claim]:
    """`over_mu` with the texts of paper_claims.yaml.

    Args:
        about: family, metric, baseline, attack; told: from `texts`.
    """
    words = (told["claim"], told["paper"], told["measured"])
    return over_mu(id_, *words, course, limit, above, note=told["note"], name=told["name"], **about, **how)


def beats_uninformed(study: Results) -> list[Claim]:
    course = study.curve(*MAIN, "mse")
    law = study.bound("uninformed", "mse").set_index("mu")["value"]
    course[["value", "low", "high"]] = course[["value", "low", "high"]].div(course["mu"].map(law), axis=0)
    about = {"family": "beats_uninformed", "metric": "mse", "baseline": "uninformed", "attack": "ddim"}
    told = texts("beats_uninformed", "mse", smallest=course["value"].min())
    return over_grid("beats_uninformed", course, 1, False, about, told)


def below_rero(study: Results) -> list[Claim]:
    claims = []
    for metric, sign, grid in measured_grids(study):
        margin = sign * (grid - study.bound("rero", metric).set_index("mu")["value"])  # > 0: worse than the bound
        about = {"family": "below_rero", "metric": metric, "baseline": "rero", "attack": "ddim"}
        told = texts("below_rero", metric, candidates=study.candidates)
        claims += over_grid(f"below_rero_{metric}", course_of(grid.columns, margin.to_numpy()), 0, True, about, told)
    return claims


def grows_with_mu(study: Results) -> list[Claim]:
    claims = []
    for metric, sign, grid in measured_grids(study):
        if len(grid.columns) > 1:
            course = course_of(grid.columns[1:], -sign * np.diff(grid.to_numpy(), axis=1))
            about = {"family": "grows_with_mu", "metric": metric, "attack": "ddim"}
            claims += over_grid(f"grows_with_mu_{metric}", course, 0, True, about, texts("grows_with_mu", metric))
    return claims


@dataclass(frozen=True)
class Threshold:
    """The mu below which an attack's output is no closer to its own target than a baseline is.

    Attributes:
        state: "inside" the grid of mu; "below" it: output is closer even at the smallest mu; "above": not even at the
            largest. Only inside is there a value; where all of its interval is at the grid's edge there is none.
    """

    attack: str
    metric: str
    baseline: str
    state: Literal["below", "inside", "above"]
    value: float
    low: float
    high: float
    n: int


def threshold(study: Results, attack: str, metric: str, baseline: str) -> Threshold:
    """Where the mean gap to the baseline, "unrelated" or "others" (`Results.gap`), changes its sign."""
    gap = study.gap("unconditional", attack, metric, baseline).to_numpy()
    found = [float(v) for v in stats.bootstrap(gap, lambda rows: stats.crossing(study.mu, rows.mean(0)))]
    state = "inside"
    if np.isnan(found[0]):
        state = "above"
    elif found[0] <= study.mu[0] or found[2] <= study.mu[0]:
        state = "below"
    if found[2] <= study.mu[0]:
        found = [float("nan")] * 3
    return Threshold(attack, metric, baseline, state, *found, len(gap))


BASELINES = {  # in the ids and tables: what the output is compared with
    "unrelated": ("test_vs_test", "unrelated test images are to each other", "unrelated images"),
    "others": ("reconstruction_vs_other", "it is to the targets of other images", "other targets"),
}
FOUND = {
    "above": "at no µ of the grid is output closer",
    "below": "the threshold is below the grid: at µ = {first:g} output is already closer",
    "inside": "threshold at µ = {value:.2f}",
}


def end_of_success(study: Results, attack: str = "ddim") -> list[Claim]:
    """The mu below which output is no closer to its target than unrelated images are, for both baselines."""
    claims = []
    for metric, _, _ in measured_grids(study, attack):
        for baseline, (kind, text, short) in BASELINES.items():
            end = threshold(study, attack, metric, baseline)
            course = course_of(study.mu, study.gap("unconditional", attack, metric, baseline).to_numpy())
            # at the grid's first mu output cannot be told from unrelated, and from some mu on it can
            told = float(course["low"].iloc[0]) <= 0 < float(course["low"].iloc[-1]) and not np.isnan(end.value)
            found = FOUND[end.state].format(first=study.mu[0], value=end.value)
            words = texts("end_of_success", metric, text=text, short=short, found=found)
            if end.low <= study.mu[0]:
                words["note"] += " Its interval is open below: it ends at the grid's first µ."
            claims.append(
                Claim(
                    id=f"end_of_success_{metric}_{kind}", **words, value=end.value, low=end.low, high=end.high, n=end.n,
                    verdict="confirmed with a caveat" if told else "inconclusive",
                    by_mu=course[["mu", "value", "low", "high"]].to_dict("records"),
                    family="end_of_success", metric=metric, baseline=baseline, attack=attack,
                )
            )  # fmt: skip
    return claims


def ddim_below_ddpm(study: Results) -> list[Claim]:
    claims = []
    for metric in [m for m in study.measured if m != "ssim"]:
        course = study.ratio(MAIN, ("unconditional", "ddpm"), metric)
        about = {"family": "ddim_below_ddpm", "metric": metric, "baseline": "ddpm", "attack": "ddim"}
        claims += over_grid(f"ddim_below_ddpm_{metric}", course, 1, False, about, texts("ddim_below_ddpm", metric))
    return claims


def agreement_predicts(study: Results) -> list[Claim]:
    claims = []
    for metric in study.measured:
        course = study.rank_correlations(metric)
        about = {"family": "agreement_predicts", "metric": metric, "attack": "ddpm"}
        told = texts("agreement_predicts", metric, median=course["value"].median())
        claims += over_grid(f"agreement_predicts_{metric}", course, 0, True, about, told)
    return claims


def prior_matters(study: Results) -> list[Claim]:
    """The same attack told the true class, or a wrong one, over that told none."""
    about = {"family": "prior", "metric": "mse", "baseline": "unconditional", "attack": "posterior_mean"}
    claims = []
    for prior in ("true_class", "wrong_class"):
        course = study.ratio((prior, "posterior_mean"), ("unconditional", "posterior_mean"), "mse")
        above = prior == "wrong_class"
        claims += over_grid(f"prior_{prior}", course, 1, above, about, texts(prior, "mse"), strongest=True)
    return claims


def beats_the_weaker(study: Results) -> list[Claim]:
    """More knowledge of images, less error: diffusion prior, Gaussian prior, none."""
    claims, ladder = [], (("unconditional", "posterior_mean"), ("gaussian", "wiener"), ("none", "raw"))
    for id_, better, worse in zip(("beats_wiener", "wiener_beats_raw"), ladder, ladder[1:]):
        about = {"family": "prior", "metric": "mse", "baseline": worse[1], "attack": better[1]}
        claims += over_grid(id_, study.ratio(better, worse, "mse"), 1, False, about, texts(id_, "mse"))
    return claims


def headline(claims: list[Claim]) -> str:
    """One sentence."""
    of_paper = [c for c in claims if c.paper not in (OURS, LEFT_OPEN)]
    counts = pd.Series([c.verdict for c in of_paper]).value_counts()
    return f"{len(of_paper)} checks of the paper's claims: " + ", ".join(f"{n} {v}" for v, n in counts.items()) + "."


def notes(study: Results, card: dict) -> list[str]:
    """What a reader must be warned of."""
    found = []
    if set(LPIPS) & set(study.missing):
        found.append("LPIPS could not be computed: no VGG16 backbone was found; its column is absent.")
    if card.get("steps", 0) < card.get("steps_planned", 0):
        found.append(
            f"The prior is half-trained: {card['steps']} of {card['steps_planned']} steps "
            f"({card['passes']} epochs). A finished prior would reconstruct more."
        )
    return found


def wall_time(layout: Layout) -> dict[str, float]:
    """Seconds by stage, summed over jobs, from Snakemake's benchmark files."""
    seconds: dict[str, float] = {}
    for path in sorted((layout.results / "timings").glob("*.tsv")):
        stage = path.stem.split("-")[0]
        seconds[stage] = round(seconds.get(stage, 0.0) + float(pd.read_csv(path, sep="\t")["s"].sum()), 1)
    return seconds


def closing(layout: Layout) -> str:
    """What `make replicate` prints at its end."""
    found = files.read_json(layout.summary)
    lines = ["", f"Study {found['study']}: {found['headline']}"]
    for claim in found["claims"]:
        number = "" if claim["value"] is None else f" {claim['value']:.3g} [{claim['low']:.3g}, {claim['high']:.3g}]"
        lines.append(f"  {claim['verdict']:<23} {claim['claim']}:{number} (n = {claim['n']}; {claim['measured']})")
    lines += [f"  note: {note}" for note in found["notes"]]
    lines += [f"Report:  {layout.report}", f"Figures: {layout.figures}/", f"Tables:  {layout.results}/"]
    return "\n".join(lines)
