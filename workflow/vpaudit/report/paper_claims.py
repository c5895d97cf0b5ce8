"""What the study found: the paper's claims, each with the number measured here, its interval and a verdict.

Everything is computed from the tables under results/<study>/; a claim that the study cannot test says so.
"""

import importlib.metadata
from collections.abc import Iterator
from dataclasses import asdict
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from vpaudit.base import files, machine, places
from vpaudit.base.labels import LABELS, LPIPS, MAIN_METRICS, METRICS, interval
from vpaudit.report import words
from vpaudit.report.claims import LEFT_OPEN, OURS, Claim, course_of, over_mu
from vpaudit.report.results import Results
from vpaudit.study.config import Config
from vpaudit.study.layout import Layout

PACKAGES = ("torch", "diffusers", "lpips", "opacus", "dp-accounting", "snakemake", "vpaudit")
CARD_KEYS = ("data", "parameters", "images_seen", "passes", "steps", "steps_planned", "sha256")
PUBLIC_KEYS = ("repo", "revision", "licence", "trained_on", "source_sha256")  # of a prior fetched from the hub
MAIN = ("unconditional", "ddim")  # the paper's attack: deterministic DDIM from the matched noise level
UNTOLD = ("unconditional", "ddim_untold")  # the same by an adversary who is not told lambda
UNRELATED = 5.0  # the largest mu at which the paper calls output unrelated to its target


def build(config: Config, layout: Layout) -> dict:
    """The content of summary.json."""
    study = Results(layout.results)
    makers = (
        beats_uninformed, within_theorem, visual_mu, told_lambda, grows_with_mu, end_of_success, ddim_below_ddpm,
        agreement_predicts, prior_matters, beats_the_weaker,
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
    """Of the attack that is told lambda, as the bound's adversary is, who divides what it saw by it."""
    law = study.bound("uninformed", "mse").set_index("mu")["value"]
    course, untold, clipped = (_over(study.curve(*pair, "mse"), law) for pair in (MAIN, UNTOLD, ("none", "raw")))
    about = {"family": "beats_uninformed", "metric": "mse", "baseline": "uninformed", "attack": MAIN[1]}
    told = texts("beats_uninformed", "mse", attack=LABELS[MAIN[1]], smallest=course["value"].min())
    if len(clipped):
        told["note"] += f" Clipping the release to that range, with no prior, is {_spoken(clipped)} of it already."
    if len(untold):
        told["note"] += f" Not told λ, the attack is {_spoken(untold)} of it."
    return over_grid("beats_uninformed", course, 1, False, about, told)


def _over(course: pd.DataFrame, law: pd.Series) -> pd.DataFrame:
    shares = course[["value", "low", "high"]].div(course["mu"].map(law), axis=0)
    return course.assign(**shares)


def _spoken(course: pd.DataFrame) -> str:
    least, most = course.loc[course["value"].idxmin()], course.loc[course["value"].idxmax()]
    return f"{least['value']:.2g} (µ = {least['mu']:g}) to {most['value']:.2g} (µ = {most['mu']:g})"


def within_theorem(study: Results) -> list[Claim]:
    """No success, with the target, is shown to be above what the theorem allows by success without it."""
    if study.success.empty:
        return []
    shown = study.visual_mu.groupby("mu")["shown"].max()
    share, violated = (shown / shown.index).rename("value"), study.success[study.success["violated"]]
    told = texts(
        "within_theorem", "mse", cells=len(study.success), violations=len(violated), candidates=study.candidates
    )
    told["measured"] = told["measured"].format(mu=f"{share.idxmax():g}")
    if len(violated):
        where = violated.groupby(["attack", "metric", "mu"]).size().index
        told["note"] = f"Contradicted by {_cells(where)}: a leak or an error. {told['note']}"
    by_mu = share.reset_index().assign(low=np.nan, high=np.nan).to_dict("records")
    verdict = "not confirmed" if len(violated) else "confirmed"
    numbers = (float(share.max()), np.nan, np.nan, study.images)
    return [Claim("within_theorem", **told, **dict(zip(("value", "low", "high", "n"), numbers)), verdict=verdict,
                  by_mu=by_mu, family="within_theorem", baseline="release without the target")]  # fmt: skip


def _cells(cells) -> str:
    """The first three of (attack, metric, mu), and how many more."""
    texts_ = [f"{LABELS.get(attack, attack)}, {METRICS[metric].label}, µ = {mu:g}" for attack, metric, mu in cells]
    return "; ".join(texts_[:3]) + (f" and {len(texts_) - 3} more" if len(texts_) > 3 else "")


def visual_mu(study: Results) -> list[Claim]:
    """How much of mu the strongest attack turns into success, metric by metric: at least low, at most mu."""
    claims = []
    for metric in METRICS:
        course = study.strongest(metric)
        if course.empty:
            continue
        attack = course["attack"].iloc[0]
        about = {"family": "visual_mu", "metric": metric, "baseline": "release without the target", "attack": attack}
        course = course.assign(high=course["mu"].clip(lower=course["value"]), n=study.images)
        told = texts("visual_mu", metric, attack=LABELS[attack])
        claims += over_grid(f"visual_mu_{metric}", course, 0, True, about, told, strongest=True)
    return claims


def told_lambda(study: Results) -> list[Claim]:
    """What lambda, which says how large the target's norm is, is worth to an attack that is told it."""
    claims = []
    for id_, pair, base, above in (
        ("told_lambda", UNTOLD, MAIN, True),
        ("uses_norm", ("unconditional", "given_norm"), ("unconditional", "posterior_mean"), False),
    ):
        about = {"family": "told_lambda", "metric": "mse", "baseline": base[1], "attack": pair[1]}
        claims += over_grid(id_, study.ratio(pair, base, "mse"), 1, above, about, texts(id_, "mse"), strongest=True)
    return claims


def grows_with_mu(study: Results) -> list[Claim]:
    claims = []
    for metric, sign, grid in measured_grids(study):
        if len(grid.columns) > 1:
            course = course_of(grid.columns[1:], -sign * np.diff(grid.to_numpy(), axis=1))
            about = {"family": "grows_with_mu", "metric": metric, "attack": "ddim"}
            claims += over_grid(f"grows_with_mu_{metric}", course, 0, True, about, texts("grows_with_mu", metric))
    return claims


def end_of_success(study: Results, attack: str = "ddim") -> list[Claim]:
    """How much is recovered up to the mu where the paper calls output unrelated, and up to which mu less than a margin.

    The claims' `by_mu` hold the one-sided limit `upper` beside each interval.
    """
    claims = []
    for metric, _, _ in measured_grids(study, attack):
        shares = study.recovered(attack, metric)
        asked = shares[shares["mu"] <= UNRELATED]
        about = {"family": "end_of_success", "metric": metric, "baseline": "others", "attack": attack}
        told = texts(
            "end_of_success", metric, margin=words.whole(study.margin), ends=words.ended(shares, study.margins),
            attack=LABELS[attack], unrelated=f"{UNRELATED:g}", distance=words.distance(metric),
        )  # fmt: skip
        for claim in over_grid(f"end_of_success_{metric}", asked, study.margin, False, about, told):
            claim.by_mu = shares[["mu", "value", "low", "high", "upper"]].to_dict("records")
            claims.append(claim)
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
        number = f" {interval(claim['value'], claim['low'], claim['high'])}"
        lines.append(f"  {claim['verdict']:<23} {claim['claim']}:{number} (n = {claim['n']}; {claim['measured']})")
    lines += [f"  note: {note}" for note in found["notes"]]
    lines += [f"Report:  {layout.report}", f"Figures: {layout.figures}/", f"Tables:  {layout.results}/"]
    return "\n".join(lines)
