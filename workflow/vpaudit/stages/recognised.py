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


def recognised(config: Config, layout: Layout, device: str = "auto") -> None:
    """targets.npz, reconstructions, candidates, public images -> recognised.parquet.

    Columns part (`Layout.seen`), attack, image, metric, value, others. Metrics: `mse` and `lpips`, how many of `others`
    candidates are nearer to an output than its target is; where images have classes `class`, whether a classifier
    trained on public images names the target's from the output, and (part "") `class_of_image` from the target itself
    and `class_by_norm` from its norm alone.
    """
    tables, made = [NOTHING], list(_made(config, layout))
    if config.recognition.candidates and made:
        x, _, _ = read_targets(layout)
        with opened(config.recognition.candidates) as file:
            pool, labels = file["images"], file["labels"][: len(x)]  # a first look attacks the first of them
        tables += _which(made, x, pool, lambda images: images.flatten(1), "mse")
        try:
            features = recognition.Features(chosen(device))
        except BackboneMissing as error:
            print(f"neither LPIPS nor classes: {error}", flush=True)
        else:
            tables += _which(made, x, pool, features, "lpips")
            if (labels >= 0).all():
                tables += _kind(config, made, x, labels, features)
    files.write_table(layout.table("recognised"), pd.concat(tables, ignore_index=True))


def _made(config: Config, layout: Layout) -> Iterator[tuple[str, str, torch.Tensor]]:
    """Part, attack, and what it made, (n, C, H, W)."""
    for part, path in layout.seen(config).items():
        with opened(path) as file:
            for attack in (a for a in ATTACKS if f"unconditional.{a}" in file.files):
                yield part, attack, torch.from_numpy(pixels.unpacked(file[f"unconditional.{attack}"][0]))


def _which(made: list, x: torch.Tensor, pool: np.ndarray, points, metric: str) -> list[pd.DataFrame]:
    """All outputs meet each batch of candidates once."""
    outputs = torch.cat([points(images) for *_, images in made])
    batches = (points(pixels.from_uint8(pool[k : k + BATCH])) for k in range(0, len(pool), BATCH))
    found = recognition.nearer(outputs, points(x).repeat(len(made), 1), batches)
    return [
        _rows(part, attack, metric, counts, others=len(pool) - 1)
        for (part, attack, _), counts in zip(made, found.reshape(len(made), -1))
    ]


def _kind(config: Config, made: list, x: torch.Tensor, labels: np.ndarray, features) -> list[pd.DataFrame]:
    """labels: (n,) of the targets, among the classes of the public images."""
    with opened(config.recognition.public) as file:
        public, classes = pixels.from_uint8(file["images"]), file["labels"]
    names = recognition.classifier(features(public).numpy(), classes)
    guesses = recognition.by_norm(_norms(public), classes).predict(_norms(x)[:, None])
    found = [
        _rows("", "", "class_of_image", names.predict(features(x).numpy()) == labels),
        _rows("", "", "class_by_norm", guesses == labels),
    ]
    return found + [
        _rows(part, attack, "class", names.predict(features(images).numpy()) == labels) for part, attack, images in made
    ]


def _norms(images: torch.Tensor) -> np.ndarray:
    return images.flatten(1).norm(dim=1).numpy()


def _rows(part: str, attack: str, metric: str, values: np.ndarray, others: int = 0) -> pd.DataFrame:
    about = {"part": part, "attack": attack, "metric": metric, "others": others}
    return pd.DataFrame({"image": range(len(values)), "value": values.astype(float), **about})[list(NOTHING)]
