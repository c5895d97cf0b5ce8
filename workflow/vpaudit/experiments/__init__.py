"""Experiments on the attack engine, beyond the paper's study: one module each, on the study's own images and prior.

Each is a function (Bench) -> long table at one mu; `snakemake experiments` runs them all over `experiments.mu`, and
the measurements of the prior, which have no mu, once.
"""

import importlib

from vpaudit.errors import VpauditError
from vpaudit.names import EXPERIMENTS, MEASUREMENTS


def run(name: str, bench):
    """The table of one experiment at the bench's mu: columns dataset, image, mu, metric, value, and its settings."""
    if name not in EXPERIMENTS + MEASUREMENTS:
        raise VpauditError(f"no experiment {name!r}", f"known: {', '.join(EXPERIMENTS + MEASUREMENTS)}")
    return importlib.import_module(f"vpaudit.experiments.{name}").run(bench)
