"""What noise costs: accuracy of a classifier trained by DP-SGD on labelled images, against the same without privacy.

It is multinomial logistic regression on the last layer of LPIPS' AlexNet, pooled. That network is public, and each
image's features are brought to mean 0 and variance 1 by themselves, so that nothing is learnt from the images but by
DP-SGD. Its learning rate follows from the number of steps alone, by `PATH`, which was chosen in a trial on
Fashion-MNIST. Without privacy it is fitted to its optimum, so that what is lost is lost by noise, clipping and the
number of rounds together.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from torch import nn

from vpaudit.base.errors import VpauditError
from vpaudit.measure import distances
from vpaudit.measure.recognition import PENALTY
from vpaudit.privacy import training
from vpaudit.privacy.training import Training

SEEDS = 5
TEST = 0.2  # share of the images that is held out
FEWEST = 50  # images of a class
PATH = 200  # learning rate times steps: with gradients of norm <= 1 the farthest the weights can go
SIDE = 64  # pixels that smaller images are enlarged to: AlexNet sees no less
BATCH = 512


def check(labels: np.ndarray) -> None:
    """Refuse images on which no classifier can be trained; labels (n,), negative where there is none.

    Raises:
        VpauditError: a single class, or too few images of one.
    """
    counts = np.bincount(labels[labels >= 0])
    some = counts[counts > 0]
    if (labels < 0).any() or len(some) < 2 or some.min() < FEWEST:
        has = f"{len(some)} classes, the smallest of {some.min() if len(some) else 0} images"
        raise VpauditError(
            f"--utility: a classifier needs two classes or more of at least {FEWEST} images each; here are {has}",
            "give --utility DIR with more images of the kind you train on, in a folder a class",
        )


def features(images: torch.Tensor) -> torch.Tensor:
    """(n, C, H, W) images in [-1, 1] to (n, 256), each row of mean 0 and variance 1.

    Raises:
        BackboneMissing: AlexNet's weights are not here.
    """
    network, rows = distances.Features(), []
    for part in images.split(BATCH):
        larger = nn.functional.interpolate(part, SIDE, mode="bilinear") if part.shape[-1] < SIDE else part
        rows.append(torch.from_numpy(network(larger)).float())
    return nn.functional.layer_norm(torch.cat(rows), rows[0].shape[1:])


def learning_rate(steps: int) -> float:
    """Of DP-SGD at max_grad_norm 1."""
    return PATH / steps


def accuracy(rows: torch.Tensor, labels: np.ndarray, rule: Training | None, seed: int, key: int) -> float:
    """On the held-out images; rule None: without privacy, by scikit-learn.

    Args:
        rows, labels: `features` and classes 0, 1, ... (n,); seed: which images are held out, sampled, and the noise, so
            that rules are compared in pairs; key: of the study.
    """
    places = train_test_split(np.arange(len(labels)), test_size=TEST, stratify=labels, random_state=seed)
    (x, y), (x_test, y_test) = ((rows[p], torch.from_numpy(labels[p].astype(np.int64))) for p in places)
    if rule is None:
        return float(
            LogisticRegression(C=PENALTY, max_iter=2000).fit(x.numpy(), y.numpy()).score(x_test.numpy(), y_test.numpy())
        )
    model = nn.Linear(rows.shape[1], int(labels.max()) + 1)
    nn.init.zeros_(model.weight), nn.init.zeros_(model.bias)
    training.train(model, (x, y), rule, training.plain, (key, "utility", seed))
    return training.accuracy(model, (x_test, y_test))


def table(rules: list[Training], one: Callable[[Training | None, int], float], seeds: int = SEEDS) -> pd.DataFrame:
    """Columns noise_multiplier (0: without privacy, epsilon inf), epsilon, seed, value.

    Args:
        one: `accuracy` of a rule and seed, computed or kept.
    """
    found = [
        (rule.noise_multiplier if rule else 0.0, rule.epsilon if rule else np.inf, seed, one(rule, seed))
        for rule in (None, *rules)
        for seed in range(seeds)
    ]
    return pd.DataFrame(found, columns=["noise_multiplier", "epsilon", "seed", "value"])
