"""Experiments on the attack engine, beyond the paper's study: one module each, on the study's own images and prior.

Each is a function (Bench) -> long table at one mu; `snakemake experiments` runs them all over `experiments.mu`, and
the measurements of the prior, which have no mu, once.
"""

import importlib

from vpaudit.base.errors import VpauditError
from vpaudit.base.labels import EXPERIMENTS, MEASUREMENTS


def images_of(name: str, most: int) -> int:
    """How many images an experiment takes: `most`, or fewer where it makes many draws of each."""
    return min(most, getattr(_module(name), "IMAGES", most))


def run(name: str, bench):
    """The table of one experiment at the bench's mu: columns dataset, image, mu, metric, value, and its settings."""
    return _module(name).run(bench)


def _module(name: str):
    if name not in EXPERIMENTS + MEASUREMENTS:
        raise VpauditError(f"no experiment {name!r}", f"known: {', '.join(EXPERIMENTS + MEASUREMENTS)}")
    return importlib.import_module(f"vpaudit.experiments.{name}.run")
