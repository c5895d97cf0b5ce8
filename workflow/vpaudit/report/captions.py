"""Captions of all figures and tables, for papers, the page and Snakemake's report: what is shown, n, interval, seed.

The text of the paper was not to be had, so sections are named by its experiments and carry no numbers.
"""

from pathlib import Path

import yaml

from vpaudit.base import stats
from vpaudit.report import words

EXACT = ("success", "visual_mu")  # figures whose intervals are no bootstrap
CARDS = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))


def text(name: str, config: dict) -> str:
    """The caption of a figure or table of the paper's study, by its resolved configuration."""
    samples = max((attack["draws"] for attack in config.get("attacks", [])), default=1)
    about = {"candidates": f"{config['bounds']['candidates']:,}", "samples": samples if samples > 1 else "several"}
    caption = CARDS[name]["caption"].format(**about)
    images = f"n = {config['data']['images']} {words.images(config)}"
    if name == "reconstructions":
        images = f"From {images.removeprefix('n = ')}"
    elif name not in EXACT:
        images += f"; 95 % intervals by bootstrap over images ({stats.RESAMPLES:,} resamples)"
    return f"{caption} {images}; seed {config['seed']}."


def of_experiment(caption: str, config: dict) -> str:
    """The caption of an experiment's figure."""
    return (
        f"{caption} n and the 95 % interval of each value: columns n, low, high of the CSV file; seed {config['seed']}."
    )


def drawn(config: dict) -> list[str]:
    """Names of the figures of a study: of samples at random, and of releases without the target, if it has them."""
    several = any(attack["draws"] > 1 for attack in config["attacks"])
    compared = bool(config["success"]["references"])
    has = {"consistency": several, "success": compared, "visual_mu": compared}
    return [name for name, card in CARDS.items() if "title" in card and has.get(name, True)]
