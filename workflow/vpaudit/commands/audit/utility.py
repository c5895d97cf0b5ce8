"""What noise costs: accuracy of a classifier trained by DP-SGD on the user's labelled images, at every budget asked."""

import hashlib
import warnings

import numpy as np
import pandas as pd

from vpaudit import data
from vpaudit.base import pixels
from vpaudit.base.errors import VpauditError
from vpaudit.commands.audit.budget import Setup
from vpaudit.commands.audit.output import Output
from vpaudit.commands.follow import Steps
from vpaudit.measure import utility
from vpaudit.privacy.training import Training
from vpaudit.report import figures, words
from vpaudit.report.figures import tradeoff
from vpaudit.study import depends
from vpaudit.study.checkpoints import Journal
from vpaudit.study.layout import Layout

MOST = 10_000  # images of a folder that is trained on
FEATURES, ROUNDS, DRAWN = 500.0, 500.0, 275  # images and rounds a second on one core; images that double a round's time
CODE = depends.code_of_module("measure.utility")
CAPTION = (
    "What noise costs and what it hides: test accuracy of a classifier trained by DP-SGD on four fifths of {images} "
    "labelled images (logistic regression on AlexNet features) against the share recovered by the best guess of the "
    "adversary chosen; a point is a budget. Dotted: accuracy without privacy. Bars: 95 % intervals, over {seeds} seeds "
    "and over the images attacked."
)


def labelled(source: str, setup: Setup, shape: tuple[int, int, int], seed: int) -> data.ImageSet:
    """Images in a folder a class, of the shape (C, H, W) at which the audited ones are attacked.

    Raises:
        VpauditError: too few to train on; no training is asked about.
    """
    if not setup.budgets:
        raise VpauditError(
            "--utility needs a training, and --mu describes none", "give --epsilon or --noise-multiplier"
        )
    channels, side = shape[0], shape[1]
    found = data.read_local(source, side, channels == 1, "", channels == 3, seed, MOST).images
    utility.check(found.labels)
    return found


def cost(images: data.ImageSet, setup: Setup) -> str:
    """What `measure` takes on one core, as a line below those of `vpaudit plan`."""
    count, runs = len(images), utility.SEEDS * (len(setup.budgets) + 1)  # one is the noise recommended
    drawn = runs * setup.steps * (1 + setup.sample_rate * count / DRAWN)
    minutes = max(1, round((count / FEATURES + drawn / ROUNDS) / 60))
    return (
        f"utility          {runs + utility.SEEDS} classifiers on {count:,} images, {runs} of them by DP-SGD: "
        f"about {minutes} minute{'s' * (minutes != 1)}"
    )


def measure(images: data.ImageSet, setup: Setup, layout: Layout, seed: int, noise: list[float]) -> dict:
    """Accuracy at these noise multipliers of the training that is asked about; runs are kept in work/.

    Returns:
        images, classes, seeds; without: accuracy without privacy; at: rows of `tradeoff.costs`, by rising noise.
    """
    rows = utility.features(pixels.from_uint8(images.images))
    journal = Journal(layout.work / "utility", CODE, [])
    content = hashlib.sha256(images.images.tobytes() + images.labels.tobytes()).hexdigest()

    lr = utility.learning_rate(setup.steps)
    rules = [Training(n, setup.sample_rate, setup.steps, lr, delta=setup.delta) for n in dict.fromkeys(noise)]
    told = Steps("what noise costs", utility.SEEDS * (1 + len(rules)))

    def one(rule: Training | None, number: int) -> float:
        key = {"images": content, "key": seed, "rule": vars(rule) if rule else None, "seed": number}
        found = float(journal(key, lambda: np.array(utility.accuracy(rows, images.labels, rule, number, seed))))
        told.step()
        return found

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Full backward hook", UserWarning)  # images need no gradient
        found = tradeoff.costs(utility.table(rules, one)).sort_values("noise_multiplier")
    records = found.to_dict("records")
    counts = {"images": len(images), "classes": len(np.unique(images.labels)), "seeds": utility.SEEDS}
    return {**counts, "without": records[0], "at": records[1:]}


def write(found: dict, output: Output) -> None:
    """The figure figures/utility.{pdf,png,csv,txt}, if the adversary chosen was attacked."""
    numbers = seen(found)
    if numbers.empty:
        return
    for kind in figures.KINDS:
        folder = output.path(f"figures/utility.{kind}").parent
    without = found["utility"]["without"]["value"]
    label = "share recovered of the distance between images"

    def draw(_, style: dict):
        return tradeoff.draw(numbers, label, without, style), numbers

    figures.write("utility", draw, CAPTION.format(**found["utility"]), folder, folder)


def seen(found: dict) -> pd.DataFrame:
    """Of each budget accuracy, and the share recovered by the best guess of the adversary chosen, a row a metric."""
    accuracies = {row["noise_multiplier"]: row for row in found["utility"]["at"]}
    rows = [
        {
            **accuracies[found["budgets"][row["training"]]["noise_multiplier"]],
            **{f"seen{end}": row[f"recovered{end}"] for end in ("", "_low", "_high")},
            "line": words.distance(row["metric"]),
        }
        for row in found["visible"]
        if row["attack"] == "posterior_mean" and row["adversary"] == found["recommendation"]["noise"][0]["adversary"]
    ]
    return pd.DataFrame(rows)
