"""What the study found: the paper's claims, each with the number measured here, its interval and a verdict.

Everything is computed from the tables under results/<study>/; a claim that the study cannot test says so.
"""

import importlib.metadata
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import pandas as pd

from vpaudit.base import files, machine, stats
from vpaudit.base.labels import LPIPS, MAIN_METRICS, METRICS
from vpaudit.experiments import open_questions
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
    claims += open_questions.of_tables({n: study.experiment(n) for n in config.experiments.with_study})
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
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "hardware": machine.describe(),
        "wall_time": wall_time(layout),
    }  # fmt: skip


def measured_grids(study: Results, attack: str = "ddim") -> Iterator[tuple[str, str, int, pd.DataFrame]]:
    """(metric, label, sign, grid) of an attack for each main metric; sign * metric falls as output comes closer."""
    for metric in MAIN_METRICS:
        grid = study.grid("unconditional", attack, metric)
        if not grid.empty:
            yield metric, METRICS[metric].label, -1 if METRICS[metric].higher_is_better else 1, grid


def beats_uninformed(study: Results) -> list[Claim]:
    course = study.curve(*MAIN, "mse")
    law = study.bound("uninformed", "mse").set_index("mu")["value"]
    course[["value", "low", "high"]] = course[["value", "low", "high"]].div(course["mu"].map(law), axis=0)
    return over_mu(
        "beats_uninformed",
        "The attack beats the bound of an uninformed adversary at every µ",
        "beats it by far",
        f"MSE of DDIM over the MSE that the bound expects: largest at µ = {{mu}}, smallest {course['value'].min():.2g}",
        course, 1, above=False,
        note="The bound is that of an adversary who knows nothing of images, not even the pixel range.",
        name="beats the uninformed adversary", family="beats_uninformed", metric="mse", baseline="uninformed",
        attack="ddim",
    )  # fmt: skip


def below_rero(study: Results) -> list[Claim]:
    claims = []
    for metric, label, sign, grid in measured_grids(study):
        margin = sign * (grid - study.bound("rero", metric).set_index("mu")["value"])  # > 0: worse than the bound
        claims += over_mu(
            f"below_rero_{metric}",
            f"The attack stays below reconstruction robustness ({label})",
            "stays below at every µ",
            f"smallest margin to the (0, γ)-ReRo adversary among {study.candidates} candidates, at µ = {{mu}}",
            course_of(grid.columns, margin.to_numpy()), 0, above=True,
            note="ReRo is drawn on the metric's axis as the expected value of an adversary who names the target with "
            "probability γ and shows the best image that needs no release otherwise (docs/assumptions.md). "
            "ReRo bounds exact reconstruction; where γ is small, partial success may be above this line.",
            name=f"stays below ReRo, {label}", family="below_rero", metric=metric, baseline="rero", attack="ddim",
        )  # fmt: skip
    return claims


def grows_with_mu(study: Results) -> list[Claim]:
    claims = []
    for metric, label, sign, grid in measured_grids(study):
        if len(grid.columns) < 2:
            continue
        claims += over_mu(
            f"grows_with_mu_{metric}",
            f"Success grows with µ ({label})",
            "µ decides",
            "smallest gain over the next smaller µ of the grid, at µ = {mu}",
            course_of(grid.columns[1:], -sign * np.diff(grid.to_numpy(), axis=1)), 0, above=True,
            name=f"success grows with µ, {label}", family="grows_with_mu", metric=metric, attack="ddim",
        )  # fmt: skip
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
    for metric, label, _, _ in measured_grids(study, attack):
        for baseline, (kind, text, short) in BASELINES.items():
            end = threshold(study, attack, metric, baseline)
            course = course_of(study.mu, study.gap("unconditional", attack, metric, baseline).to_numpy())
            # at the grid's first mu output cannot be told from unrelated, and from some mu on it can
            told = float(course["low"].iloc[0]) <= 0 < float(course["low"].iloc[-1]) and not np.isnan(end.value)
            claims.append(
                Claim(
                    f"end_of_success_{metric}_{kind}",
                    f"There is a µ below which output is no closer to the target ({label}) than {text}",
                    "µ ≤ 5, on 32×32 and 256×256 colour images",
                    FOUND[end.state].format(first=study.mu[0], value=end.value),
                    end.value, end.low, end.high, end.n,
                    "confirmed with a caveat" if told else "inconclusive",
                    "The threshold depends on image size and on the metric; it is not a constant of the attack."
                    + (" Its interval is open below: it ends at the grid's first µ." if end.low <= study.mu[0] else ""),
                    course[["mu", "value", "low", "high"]].to_dict("records"),
                    f"success ends, {label} against {short}", "end_of_success", metric, baseline, attack,
                )
            )  # fmt: skip
    return claims


def ddim_below_ddpm(study: Results) -> list[Claim]:
    claims = []
    for metric in [m for m in study.measured if m != "ssim"]:
        label = METRICS[metric].label
        claims += over_mu(
            f"ddim_below_ddpm_{metric}",
            f"Deterministic DDIM is closer to the target than a DDPM sample ({label})",
            "better data consistency, less diversity",
            "ratio DDIM / DDPM, largest at µ = {mu}",
            study.ratio(MAIN, ("unconditional", "ddpm"), metric), 1, above=False,
            name=f"DDIM is closer than DDPM, {label}", family="ddim_below_ddpm", metric=metric, baseline="ddpm",
            attack="ddim",
        )  # fmt: skip
    return claims


def agreement_predicts(study: Results) -> list[Claim]:
    claims = []
    for metric in study.measured:
        course, label = study.rank_correlations(metric), METRICS[metric].label
        claims += over_mu(
            f"agreement_predicts_{metric}",
            f"Agreement between posterior samples predicts success within a fixed µ ({label})",
            "features that persist across samples tend to be genuine",
            f"Spearman correlation over images, smallest at µ = {{mu}}; median over µ {course['value'].median():.2f}",
            course, 0, above=True,
            name=f"agreement predicts success, {label}", family="agreement_predicts", metric=metric, attack="ddpm",
        )  # fmt: skip
    return claims


def prior_matters(study: Results) -> list[Claim]:
    claims = []
    for prior, text, above in (
        ("true_class", "Knowing the class helps", False),
        ("wrong_class", "A wrong prior hurts", True),
    ):
        claims += over_mu(
            f"prior_{prior}",
            f"{text} (MSE of the posterior mean)",
            "the prior's quality decides; large shift hurts",
            "ratio to the unconditional prior, strongest at µ = {mu}",
            study.ratio((prior, "posterior_mean"), ("unconditional", "posterior_mean"), "mse"), 1, above,
            strongest=True, name=text[0].lower() + text[1:], family="prior", metric="mse", baseline="unconditional",
            attack="posterior_mean",
        )  # fmt: skip
    return claims


def beats_the_weaker(study: Results) -> list[Claim]:
    """More knowledge of images, less error: diffusion prior, Gaussian prior, none."""
    wiener = ("gaussian", "wiener")
    return over_mu(
        "beats_wiener",
        "The diffusion prior's posterior mean beats the Gaussian prior's (ours)",
        OURS,
        "MSE of the diffusion prior's posterior mean over that of the Gaussian prior's, largest at µ = {mu}",
        study.ratio(("unconditional", "posterior_mean"), wiener, "mse"), 1, above=False,
        name="diffusion prior beats Gaussian prior", family="prior", metric="mse", baseline="wiener",
        attack="posterior_mean",
    ) + over_mu(
        "wiener_beats_raw",
        "The Gaussian prior beats the clipped observation (ours)",
        OURS,
        "MSE of the Gaussian prior's posterior mean over that of the observation, largest at µ = {mu}",
        study.ratio(wiener, ("none", "raw"), "mse"), 1, above=False,
        name="Gaussian prior beats no prior", family="prior", metric="mse", baseline="raw", attack="wiener",
    )  # fmt: skip


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
