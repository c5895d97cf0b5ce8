"""What is recognised over mu in what the study's attacks made: which image, among others of its data set; which class.

The targets are a random part of the test images, so each of n candidates is the target as likely as any other. Who is
told lambda knows |x|, and with it more than that; `told` says whether an attack is.
"""

import numpy as np
import pandas as pd
import torch

from vpaudit import data
from vpaudit.base import pixels
from vpaudit.experiments.bench import Bench
from vpaudit.measure import recognition
from vpaudit.report.recognition import ATTACKS
from vpaudit.stages import recognised
from vpaudit.stages.inputs import opened, read_targets
from vpaudit.study import shards

KNOWN = 6000  # public images at most, from which the classifier learns


def run(bench: Bench) -> pd.DataFrame:
    """Columns attack, told (lambda), among.

    Metrics: `mse` and `lpips`, the chance that an output is nearest to its target `among` so many candidates; `class`,
    whether it is named from the output; without mu `class_of_image`, whether from the target itself, and of every
    candidate `class_guessed`, whether from its norm (told) or from nothing.
    """
    config, test = bench.config, data.load(bench.data_set, "test")
    x, labels, ids = read_targets(bench.layout)
    public = _public(bench) if (labels >= 0).all() else None
    attacks = {a.name: a.knowledge.lam == "known" for a in config.attacks if a.name in ATTACKS}
    made = [(mu, attack, _made(bench, mu, attack)) for mu in config.mu_names for attack in attacks]
    found = recognised.told(made, x, labels.numpy(), test.images, public)
    found = found[found["metric"] != "class_by_norm"]  # more candidates than targets tell it better
    about = {
        "image": ids.numpy()[found["image"]], "mu": pd.to_numeric(found["part"]), "among": 0,
        "told": found["attack"].map(attacks).astype("boolean"), "dataset": config.dataset,
    }  # fmt: skip
    found = found.assign(**about)
    tables = [*_chances(found[found["others"] > 0]), found[found["others"] == 0]]
    if public is not None:
        tables += [_guessed(test, *public, told).assign(dataset=config.dataset) for told in (True, False)]
    return pd.concat(tables, ignore_index=True).drop(columns=["part", "others"])


def _public(bench: Bench) -> recognised.Labelled:
    known = data.load(bench.data_set, "train")
    known = data.select(known, min(KNOWN, len(known)), bench.config.seed)
    return known.images, known.labels


def _made(bench: Bench, mu: str, attack: str) -> torch.Tensor:
    """The study's reconstructions of its targets, (n, C, H, W)."""
    found = []
    for part in shards.at(bench.config, mu):
        with opened(bench.layout.reconstruction(part)) as file:
            found.append(torch.from_numpy(pixels.unpacked(file[f"unconditional.{attack}"][0])))
    return torch.cat(found)


def _chances(counts: pd.DataFrame) -> list[pd.DataFrame]:
    """The chance of each output to pick its target, at every n of which there are enough candidates."""
    others = int(counts["others"].iloc[0])
    return [
        counts.assign(among=n, value=recognition.chance(counts["value"].to_numpy(), others, n))
        for n in recognition.CANDIDATES
        if n - 1 <= others
    ]


def _guessed(test: data.ImageSet, images: np.ndarray, classes: np.ndarray, told: bool) -> pd.DataFrame:
    """Whether the class of each test image is guessed without a release, by who is told its norm or nothing."""
    guesses = np.full(len(test), np.bincount(classes).argmax())
    if told:
        by_norm = recognition.by_norm(recognition.norms(pixels.from_uint8(images)), classes)
        guesses = by_norm.predict(recognition.norms(pixels.from_uint8(test.images))[:, None])
    about = {"attack": "", "metric": "class_guessed", "told": told, "among": 0}
    return pd.DataFrame({"image": test.ids, "value": (guesses == test.labels).astype(float), **about})
