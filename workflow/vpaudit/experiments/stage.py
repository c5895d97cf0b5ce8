"""The stages of experiments: a table at one mu or over all, its figure, and what it says on claims."""

from dataclasses import asdict

import pandas as pd

from vpaudit.base import files
from vpaudit.base.errors import VpauditError
from vpaudit.experiments import catalog
from vpaudit.study.config import Config
from vpaudit.study.layout import Layout


def experiment(config: Config, layout: Layout, name: str, mu: str | None = None, device: str = "auto") -> None:
    """targets.npz, priors -> experiments/parts/<name>/mu=<mu>.parquet; without a mu experiments/<name>.parquet."""
    from vpaudit.experiments.bench import Bench

    if (mu is None) != (catalog.card(name).kind == "all mu"):
        raise VpauditError(f"experiment {name}: {'--mu is missing' if mu is None else 'has no mu'}", "see --help")
    bench = Bench(config, layout, float(mu or 1.0), catalog.images(config, name), device)
    files.write_table(layout.experiment(name, mu), catalog.module(name, "run").run(bench))


def experiment_table(config: Config, layout: Layout, name: str) -> None:
    """experiments/parts/<name>/mu=*.parquet -> experiments/<name>.parquet."""
    paths = [layout.experiment(name, f"{mu:g}") for mu in catalog.mu(config, name)]
    files.write_table(layout.experiment(name), pd.concat([pd.read_parquet(path) for path in paths]))


def experiment_figure(config: Config, layout: Layout, name: str) -> None:
    """tables -> figures/<study>-engine/<name>.{pdf,png,csv,txt}."""
    from vpaudit.report import captions, figures

    draw = catalog.module(name, "figure").draw
    caption = captions.of_experiment(catalog.card(name).caption, config.model_dump(mode="json"))
    figures.write(name, draw, caption, layout.results, layout.engine_figures, config.figures.style)


def experiment_claims(config: Config, layout: Layout, name: str) -> None:
    """experiments/<name>.parquet -> experiments/<name>.claims.json."""
    claims = catalog.module(name, "claims").of(pd.read_parquet(layout.experiment(name)))
    files.write_json(layout.experiment_claims(name), files.plain([asdict(claim) for claim in claims]))
