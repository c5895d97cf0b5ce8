"""What noise costs a classifier: accuracy by DP-SGD at the budgets at which `adversaries` attacks the same training."""

import numpy as np
import pandas as pd
import torch

from vpaudit import data
from vpaudit.base import pixels
from vpaudit.base.randomness import generator
from vpaudit.experiments.bench import Bench, progress
from vpaudit.measure import utility
from vpaudit.privacy.training import Training
from vpaudit.study import depends
from vpaudit.study.checkpoints import Journal

EPSILONS = (1.0, 8.0, 64.0, 256.0)
SAMPLE_RATE, STEPS = 0.01, 1000
IMAGES = 10_000  # of the training split, at most: trained on and held out
CODE = depends.code_of_module("measure.utility")


def run(bench: Bench) -> pd.DataFrame:
    """Columns noise_multiplier (0: without privacy), epsilon, sample_rate, steps, seed; accuracy on held-out images."""
    about, key = bench.config.data, bench.config.seed
    images = data.load(about.name, "train")
    some = torch.randperm(len(images.images), generator=generator(key, "utility"))[:IMAGES].sort().values.numpy()
    rows, labels = utility.features(pixels.from_uint8(images.images[some])), images.labels[some]
    journal = Journal(bench.layout.work / "utility", CODE, [])

    def one(rule: Training | None, seed: int) -> float:
        kept = {"data": about.name, "key": key, "images": len(some), "rule": vars(rule) if rule else None, "seed": seed}
        return float(journal(kept, lambda: np.array(utility.accuracy(rows, labels, rule, seed, key))))

    common = {"sample_rate": SAMPLE_RATE, "steps": STEPS, "delta": bench.config.mechanism.delta}
    rules = [Training.within(e, lr=utility.learning_rate(STEPS), **common) for e in progress(EPSILONS, "utility")]
    about_all = {"dataset": about.name, "metric": "accuracy", "sample_rate": SAMPLE_RATE, "steps": STEPS}
    return utility.table(rules, one).assign(**about_all)
