"""The study as one self-contained page for someone who is not a privacy expert. Every number comes from the tables."""

import base64
import datetime
from pathlib import Path

import jinja2
import numpy as np

from vpaudit import io
from vpaudit.figures.study import LABELS, METRICS, Study, number

CAPTIONS = {
    "reconstructions": "What is released of an image, and what the attacks make of it. Left: the target, which no "
    "attack sees. To the right the noise falls. Grey values are never stretched.",
    "metrics_vs_mu": "How close the output comes to the target. Dashed: what an adversary without any knowledge of "
    "images can expect; dash-dotted: one who holds the target among {candidates} candidates and picks one. Between "
    "the two lies the shaded corridor. Dotted: two unrelated test images; sparse dots: the output against the targets "
    "of other images. MSE is on pixels in [-1, 1]; LPIPS on images enlarged to 64 pixels.",
    "consistency": "Several draws from one observation, compared with each other (what the adversary can do) and with "
    "the target (what only we can do). On the dashed line the adversary would know exactly how well it did.",
    "prior_ladder": "The same observations read with better and worse knowledge of what images look like.",
}
TITLES = {
    "reconstructions": "What is left visible",
    "metrics_vs_mu": "Success over the signal-to-noise ratio, between two bounds",
    "consistency": "Can the adversary tell whether it succeeded?",
    "prior_ladder": "How much prior knowledge decides",
}


def build(results: Path, figures: Path, out: Path) -> None:
    """Write the page.

    Args:
        results, figures: results/<study>/ and figures/<study>/ as the stages before left them.
    """
    study, summary = Study(Path(results)), io.read_json(Path(results) / "summary.json")
    here = Path(__file__).parent
    page = jinja2.Environment(
        loader=jinja2.FileSystemLoader(here), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    ).get_template("template.html")
    images = study.metrics["image"].nunique()
    text = page.render(
        style=(here / "style.css").read_text(encoding="utf-8"),
        summary=summary,
        config=study.config,
        plain=plain_words(study),
        budgets=[{"mu": f"{mu:g}", "epsilon": f"{number(study.epsilon(mu))}"} for mu in study.mu],
        figures=[_figure(name, Path(figures), study, images) for name in CAPTIONS],
        claims=[_claim(claim) for claim in summary["claims"]],
        images=images,
        missing=[METRICS[m][0] for m in ("mse", "ssim", "lpips_vgg_64") if m not in study.measured],
        wall=[(stage, f"{seconds:.0f} s") for stage, seconds in summary["wall_time"].items()],
        date=datetime.date.today().isoformat(),
    )
    with io.atomic(out) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _figure(name: str, folder: Path, study: Study, images: int) -> dict:
    data = base64.b64encode((folder / f"{name}.png").read_bytes()).decode()
    caption = CAPTIONS[name].format(candidates=f"{study.config['bounds']['candidates']:,}")
    shown = 3 if name == "reconstructions" else images
    interval = "" if name == "reconstructions" else ", bands and bars are 95 % bootstrap intervals"
    note = f"n = {shown} images of {study.config['data']['name']}{interval}, seed {study.config['seed']}."
    return {"name": name, "title": TITLES[name], "src": f"data:image/png;base64,{data}", "caption": f"{caption} {note}"}


def _claim(claim: dict) -> dict:
    def short(value):
        return "–" if value is None else f"{value:.3g}"

    interval = "–" if claim["value"] is None else f"{short(claim['low'])} to {short(claim['high'])}"
    mark = {"confirmed": "yes", "not confirmed": "no", "inconclusive": "open"}.get(claim["verdict"], "part")
    return {**claim, "number": short(claim["value"]), "interval": interval, "mark": mark}


def plain_words(study: Study) -> list[str]:
    """Sentences for people, one a mu: how much of the way from unrelated to identical the attack goes."""
    sentences = []
    unrelated, _, _ = study.unrelated("mse")
    for attack, name in (("posterior_mean", "best guess"), ("ddim", "most plausible picture")):
        curve = study.curve("unconditional", attack, "mse")
        if curve.empty:
            continue
        share = 1 - curve["value"].astype(float) / unrelated
        for mu, value, low, high in zip(
            curve["mu"], share, 1 - curve["high"].astype(float) / unrelated, 1 - curve["low"].astype(float) / unrelated
        ):
            sentences.append(
                f"At µ = {mu:g} (ε = {number(study.epsilon(mu))}) the {name} ({LABELS[attack]}) removes {value:.0%} "
                f"({low:.0%} to {high:.0%}) of the squared error that an unrelated image has: {_verdict(value)}."
            )
    return sentences


def _verdict(share: float) -> str:
    steps = (0.1, 0.5, 0.85, 0.95)
    words = (
        "little more than what any image of this kind shows",
        "rough shape and brightness",
        "the kind of object and its outline",
        "a clear likeness",
        "nearly every detail",
    )
    return words[int(np.searchsorted(steps, share))]
