"""What is recognised in what attacks made for each adversary of an audit: which image, of which class."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch

from vpaudit.base import files, pixels
from vpaudit.measure import recognition
from vpaudit.measure.metrics import BackboneMissing
from vpaudit.stages.inputs import chosen, opened, read_targets
from vpaudit.study.config import Config
from vpaudit.study.layout import Layout

ATTACKS = ("posterior_mean", "ddim")
NOTHING = pd.DataFrame({name: [] for name in ("part", "attack", "image", "metric", "value", "others")})
BATCH = 64  # candidates at once
Made = list[tuple[str, str, torch.Tensor]]
Labelled = tuple[np.ndarray, np.ndarray]


def recognised(config: Config, layout: Layout, device: str = "auto") -> None:
    """targets.npz, reconstructions, candidates, public images -> recognised.parquet.

    Columns part (`Layout.seen`), attack, image, metric, value, others. Metrics: `mse` and `lpips`, how many of `others`
    candidates are nearer to an output than its target is; where images have classes `class`, whether a classifier
    trained on public images names the target's from the output, and (part "") `class_of_image` from the target itself
    and `class_by_norm` from its norm alone.
    """
    made, table = list(_made(config, layout)), NOTHING
    if config.recognition.candidates and made:
        x, _, _ = read_targets(layout)
        with opened(config.recognition.candidates) as file:
            pool, labels = file["images"], file["labels"][: len(x)]  # a first look attacks the first of them
        public = _public(config) if (labels >= 0).all() else None
        table = told(made, x, labels, pool, public, device)
    files.write_table(layout.table("recognised"), table)


def told(
    made: Made, x: torch.Tensor, labels: np.ndarray, pool: np.ndarray, public: Labelled | None, device: str = "auto"
) -> pd.DataFrame:
    """The table of `recognised`.

    Args:
        made: part, attack, and what it made, (n, C, H, W), one of each target; x, labels: the targets.
        pool: uint8 candidates, the targets among them; public: uint8 images and classes, None: classes are not asked.
    """
    tables = _which(made, x, pool, lambda images: images.flatten(1), "mse")
    try:
        features = recognition.Features(chosen(device))
    except BackboneMissing as error:
        print(f"neither LPIPS nor classes: {error}", flush=True)
    else:
        tables += _which(made, x, pool, features, "lpips")
        if public is not None:
            tables += _kind(made, x, labels, public, features)
    return pd.concat(tables, ignore_index=True)


def _public(config: Config) -> Labelled:
    with opened(config.recognition.public) as file:
        return file["images"], file["labels"]


def _made(config: Config, layout: Layout) -> Iterator[tuple[str, str, torch.Tensor]]:
    for part, path in layout.seen(config).items():
        with opened(path) as file:
            for attack in (a for a in ATTACKS if f"unconditional.{a}" in file.files):
                yield part, attack, torch.from_numpy(pixels.unpacked(file[f"unconditional.{attack}"][0]))


def _which(made: Made, x: torch.Tensor, pool: np.ndarray, points, metric: str) -> list[pd.DataFrame]:
    """All outputs meet each batch of candidates once."""
    outputs = torch.cat([points(images) for *_, images in made])
    batches = (points(pixels.from_uint8(pool[k : k + BATCH])) for k in range(0, len(pool), BATCH))
    found = recognition.nearer(outputs, points(x).repeat(len(made), 1), batches)
    return [
        _rows(part, attack, metric, counts, others=len(pool) - 1)
        for (part, attack, _), counts in zip(made, found.reshape(len(made), -1))
    ]


def _kind(made: Made, x: torch.Tensor, labels: np.ndarray, public: Labelled, features) -> list[pd.DataFrame]:
    """labels: (n,) of the targets, among the classes of the public images."""
    images, classes = pixels.from_uint8(public[0]), public[1]
    names = recognition.classifier(features(images).numpy(), classes)
    guesses = recognition.by_norm(recognition.norms(images), classes).predict(recognition.norms(x)[:, None])
    found = [
        _rows("", "", "class_of_image", names.predict(features(x).numpy()) == labels),
        _rows("", "", "class_by_norm", guesses == labels),
    ]
    return found + [
        _rows(part, attack, "class", names.predict(features(images).numpy()) == labels) for part, attack, images in made
    ]


def _rows(part: str, attack: str, metric: str, values: np.ndarray, others: int = 0) -> pd.DataFrame:
    about = {"part": part, "attack": attack, "metric": metric, "others": others}
    return pd.DataFrame({"image": range(len(values)), "value": values.astype(float), **about})[list(NOTHING)]
