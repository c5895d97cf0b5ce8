"""The stages of experiments: one at a mu, or a measurement over all mu at once."""

import pandas as pd

from vpaudit.base.errors import VpauditError
from vpaudit.base.files import write_table
from vpaudit.base.labels import MEASUREMENTS
from vpaudit.study.config import Config
from vpaudit.study.layout import Layout


def experiment(config: Config, layout: Layout, name: str, mu: str | None = None, device: str = "auto") -> None:
    """targets.npz, priors -> experiments/parts/<name>/mu=<mu>.parquet; without a mu experiments/<name>.parquet."""
    from vpaudit import experiments
    from vpaudit.experiments.bench import Bench

    if (mu is None) != (name in MEASUREMENTS):
        raise VpauditError(f"experiment {name}: {'--mu is missing' if mu is None else 'has no mu'}", "see --help")
    count = experiments.images_of(name, config.experiments.images)
    bench = Bench(config, layout, float(mu or 1.0), count, device)
    write_table(layout.experiment(name, mu), experiments.run(name, bench))


def experiment_table(config: Config, layout: Layout, name: str) -> None:
    """experiments/parts/<name>/mu=*.parquet -> experiments/<name>.parquet."""
    paths = [layout.experiment(name, f"{mu:g}") for mu in config.experiment_mu(name)]
    write_table(layout.experiment(name), pd.concat([pd.read_parquet(path) for path in paths]))
