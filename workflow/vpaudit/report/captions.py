"""Captions of all figures and tables, for papers, the page and Snakemake's report: what is shown, n, interval, seed.

The text of the paper was not to be had, so sections are named by its experiments and carry no numbers.
"""

import subprocess

from vpaudit.base import stats
from vpaudit.base.files import ROOT
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
    "prior_ladder": "Mean error divided by that of the diffusion model that is told no class, on the same "
    "observations: below 1 is better, above 1 worse. True class known: told what the target is. Wrong class believed: "
    "told a falsehood. Gaussian prior: knows only mean and covariance of training images. No prior: the observation.",
}
# Of figures and tables that the page does not show.
OTHERS = {
    "metrics": "Mean over images of each metric between output and target, with its 95 % interval below; unrelated: "
    "test images against other test images; bounds as in the figure of success.",
    "claims": "The paper's claims and what was measured, with 95 % interval, number of images and verdict.",
    "calls": "Quality of solvers of few network calls over that of the converged deterministic output. "
    "Grey: within a per cent; dotted: 2 % of the pixel range.",
    "fitted": "The fitted solver of most calls against the converged output, on images beyond the study. "
    "Grey: within a per cent; dotted: 2 % of the pixel range.",
    "calibration": "Distance between draws over distance to the target, and coverage of 90 % intervals.",
    "averaging": "MSE of the mean of several outputs over that of the one-call posterior mean, by network calls.",
    "knowledge": "What it costs the adversary not to know the noise or the clipping factor.",
    "rounds": "Several releases of the same image, for adversaries who use one or all of them.",
    "gradients": "Images inside real gradients: the image's share of the clipped gradient, and how many come apart.",
    "prediction": "MSE predicted without the attacked images, against MSE measured.",
    "draws": "Agreement between draws as an estimate of success.",
    "confident": "What draws agree on. Above: pixels called real by their spread between draws, and a limit on the "
    "error, both calibrated on half of the images under the right prior and judged on the others: the share of pixels "
    "called real and off by more than 0.2 of a range of 2 is at most 5 % in expectation, the limit holds for 90 % of "
    "images. Under a wrong prior nothing is guaranteed. Below: images in which the wrong prior is most often sure "
    "and wrong.",
    "scale": "The same images at several sizes: which measure ranks their risk alike.",
    "shift": "Priors of increasing distance to the targets, and the loss of quality.",
    "dpsgd": "Denoising of gradients inside DP-SGD: accuracy against plain DP-SGD, paired by seed.",
    "precision": "Every sampler in bfloat16 against float32, on the same observations and random numbers.",
    "transition": "The noise at which reconstruction ends, measured, and predicted from images that are not attacked.",
    "cost": "Wall time of the attack over that of its network calls, and the speed of a call by kind of arithmetic.",
    "peers": "The attack against other libraries on the same prior, images and noise.",
    "information": "Bits leaked about an image, and the price of a wrong prior in bits.",
    "floors": "Floors under the error of every attack, beside the attacks.",
}
EXAMPLES, KNOWN, DRAWS = (
    "Visual examples",
    "Success over the noise, against bounds",
    "Success judged without the target",
)
PRIOR, UNKNOWN, SIZE, BEYOND = "Prior and distribution shift", "Unknown noise", "Image size", "Beyond the paper"
SECTIONS = {
    "reconstructions": EXAMPLES, "metrics_vs_mu": KNOWN, "metrics": KNOWN, "claims": KNOWN, "consistency": DRAWS,
    "draws": DRAWS, "confident": DRAWS, "calibration": DRAWS, "prior_ladder": PRIOR,
    "shift": PRIOR, "prediction": PRIOR,
    "knowledge": UNKNOWN, "scale": SIZE,
}  # fmt: skip


def section(name: str) -> str:
    """The experiment of the paper that a figure or table belongs to."""
    return SECTIONS.get(name, BEYOND)


def text(name: str, config: dict) -> str:
    """The caption of a figure or table of a study, by its resolved configuration."""
    samples = max((attack["draws"] for attack in config.get("attacks", [])), default=1)
    about = {"candidates": f"{config['bounds']['candidates']:,}", "samples": samples if samples > 1 else "several"}
    caption = CAPTIONS[name].format(**about) if name in CAPTIONS else OTHERS[name]
    images = f"n = {config['data']['images']} {words.images(config)}"
    if name == "reconstructions":
        images = f"From {images.removeprefix('n = ')}"
    elif name in CAPTIONS or name in ("metrics", "claims"):
        images += f"; 95 % intervals by bootstrap over images ({stats.RESAMPLES:,} resamples)"
    else:
        images = "n and the 95 % interval of each value: columns n, low, high of the CSV file"
    return f"{caption} {images}; seed {config['seed']}."


def with_commit(name: str, config: dict) -> str:
    """The caption with the state of the code that draws it."""
    return f"{text(name, config)} Commit {commit()}.\n"


def commit() -> str:
    """The commit of the code, and whether it was changed since; "not known" without git."""
    try:
        done = [
            subprocess.run(["git", "-C", ROOT, *command], capture_output=True, text=True, check=True).stdout.strip()
            for command in (
                ["rev-parse", "--short=12", "HEAD"],
                ["status", "--porcelain", "--", "workflow", "rules", "config", "Snakefile"],
            )
        ]
    except (OSError, subprocess.CalledProcessError):
        return "not known"
    return done[0] + (", with changes" if done[1] else "")
