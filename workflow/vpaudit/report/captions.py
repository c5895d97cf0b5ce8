"""Captions of all figures and tables, for papers, the page and Snakemake's report: what is shown, n, interval, seed.

The text of the paper was not to be had, so sections are named by its experiments and carry no numbers.
"""

import subprocess

from vpaudit.base import places, stats
from vpaudit.report import words

TITLES = {
    "reconstructions": "What is left visible",
    "metrics_vs_mu": "Success at every noise level, between two bounds",
    "consistency": "Can the attacker tell whether it succeeded?",
    "prior_ladder": "How much prior knowledge decides",
}
CAPTIONS = {
    "reconstructions": "Left: the target, which no attack sees. Row by row: what the privacy mechanism releases, its "
    "clipping undone; what each attack makes of it; two random samples of the diffusion model. From left to "
    "right the noise falls. Values beyond black and white are clipped, contrast is never stretched. The targets are "
    "the first of their classes (without classes: the first), not chosen by outcome.",
    "metrics_vs_mu": "Distance (MSE on pixels in [-1, 1], LPIPS) or similarity (NCC, SSIM) between output and target, "
    "mean over images. Dashed: what an adversary who knows nothing of images can expect, a law that exists for MSE and "
    "NCC. Dash-dotted: reconstruction robustness (ReRo), drawn as the expected value of an adversary who holds the "
    "target among {candidates} candidates, names the right one as often as the mechanism permits, and shows the best "
    "image that needs no release otherwise. Dotted: test images against other test images. Dash and dots: DDIM output "
    "against the targets of other images, so that bland output is not mistaken for success.",
    "consistency": "Above: {samples} samples of the same observation, compared with each other (the attacker can "
    "do that) and with the target (only we can do that); one point an image. On the dashed line the estimate is exact. "
    "Below: rank correlation over images at one noise level, so that the noise level itself explains nothing.",
    "prior_ladder": "Mean error divided by that of the diffusion model that knows no class, on the same "
    "observations: below 1 is better, above 1 worse. True class known: the model is given the target's "
    "class. Wrong class believed: it is given another one. Gaussian prior: only mean and covariance of training images "
    "are known. No prior: the observation.",
}
# Of tables that the page does not show.
OTHERS = {
    "metrics": "Mean over images of each metric between output and target, with its 95 % interval below; unrelated: "
    "test images against other test images; bounds as in the figure of success.",
    "claims": "The paper's claims and what was measured, with 95 % interval, number of images and verdict.",
}
# The experiment of the paper that a figure belongs to.
SECTIONS = {
    "reconstructions": "Visual examples",
    "metrics_vs_mu": "Success over the noise, against bounds",
    "consistency": "Success judged without the target",
    "prior_ladder": "Prior and distribution shift",
}


def text(name: str, config: dict) -> str:
    """The caption of a figure or table of the paper's study, by its resolved configuration."""
    samples = max((attack["draws"] for attack in config.get("attacks", [])), default=1)
    about = {"candidates": f"{config['bounds']['candidates']:,}", "samples": samples if samples > 1 else "several"}
    caption = CAPTIONS[name].format(**about) if name in CAPTIONS else OTHERS[name]
    images = f"n = {config['data']['images']} {words.images(config)}"
    if name == "reconstructions":
        images = f"From {images.removeprefix('n = ')}"
    else:
        images += f"; 95 % intervals by bootstrap over images ({stats.RESAMPLES:,} resamples)"
    return f"{caption} {images}; seed {config['seed']}."


def of_experiment(caption: str, config: dict) -> str:
    """The caption of an experiment's figure."""
    return (
        f"{caption} n and the 95 % interval of each value: columns n, low, high of the CSV file; seed {config['seed']}."
    )


def with_commit(caption: str) -> str:
    """The caption with the state of the code that draws the figure."""
    return f"{caption} Commit {commit()}.\n"


def commit() -> str:
    """The commit of the code, and whether it was changed since; "not known" without git."""
    clone = places.CLONE
    if not clone or not (clone / ".git").exists():  # a repository further out says nothing of this code
        return "not known"
    try:
        done = [
            subprocess.run(["git", "-C", clone, *command], capture_output=True, text=True, check=True).stdout.strip()
            for command in (
                ["rev-parse", "--short=12", "HEAD"],
                ["status", "--porcelain", "--", "workflow", "rules", "config", "Snakefile"],
            )
        ]
    except (OSError, subprocess.CalledProcessError):
        return "not known"
    return done[0] + (", with changes" if done[1] else "")
