"""The stages that handle tables and figures, one function each. Torch is never imported here."""

from pathlib import Path

import numpy as np
import pandas as pd

from vpaudit import io, parts, ranges
from vpaudit.config import Config
from vpaudit.layout import Layout


def bounds(config: Config, layout: Layout) -> None:
    """targets.npz, unrelated baseline -> bounds.parquet."""
    from vpaudit.bounds import table as law

    with np.load(layout.targets) as file:
        flat = file["images"].reshape(len(file["images"]), -1)
    norms, variances = np.empty(len(flat)), np.empty(len(flat))
    for start in range(0, len(flat), 256):  # 256 x 256 images are too many for doubles at once
        block = ranges.signed(flat[start : start + 256])
        norms[start : start + 256], variances[start : start + 256] = np.linalg.norm(block, axis=1), block.var(axis=1)
    unrelated = pd.read_parquet(layout.part("baselines", "unrelated"))
    table = law.table(norms, variances, flat.shape[1], unrelated, config.mechanism, config.bounds)
    write_table(layout.table("bounds"), table.assign(dataset=config.dataset))


def theory(config: Config, layout: Layout) -> None:
    """measurements of the prior, targets.npz -> theory.parquet."""
    from safetensors.numpy import load_file

    from vpaudit.bounds import prior_aware

    with np.load(layout.targets) as file:
        flat = ranges.signed(file["images"])
    norms = np.linalg.norm(flat.reshape(len(flat), -1), axis=1)
    measured = [pd.read_parquet(layout.experiment(name)) for name in ("curves", "scores", "ball")]
    variances = load_file(layout.gaussian / "gaussian.safetensors")["variances"]
    rule = config.mechanism
    table = prior_aware.table(*measured, norms, variances, rule.mu, rule.max_grad_norm)
    write_table(layout.table("theory"), table.assign(dataset=config.dataset))


def collect(config: Config, layout: Layout) -> None:
    """parts/<table>/mu=*.parquet -> <table>.parquet for metrics, baselines and consistency."""
    for table in ("metrics", "baselines", "consistency"):
        names = (["unrelated"] if table == "baselines" else []) + parts.names(config)
        write_table(layout.table(table), pd.concat([pd.read_parquet(layout.part(table, name)) for name in names]))


def experiment_table(config: Config, layout: Layout, name: str) -> None:
    """experiments/parts/<name>/mu=*.parquet -> experiments/<name>.parquet."""
    paths = [layout.experiment(name, f"{mu:g}") for mu in config.experiment_mu(name)]
    write_table(layout.experiment(name), pd.concat([pd.read_parquet(path) for path in paths]))


def summary(config: Config, layout: Layout) -> None:
    """tables -> summary.json: claims with value, interval and verdict; versions, hardware, wall time."""
    from vpaudit import summary as module

    io.write_json(layout.summary, module.build(config, layout))


def figure(config: Config, layout: Layout, name: str) -> None:
    """tables -> figures/<study>/<name>.{pdf,png,csv,txt}."""
    from vpaudit import figures

    figures.render(name, layout.results, layout.figure(name, "png").parent, config.figures.style)


def latex(config: Config, layout: Layout) -> None:
    """tables, summary -> figures/<study>/{metrics,claims}.tex, each with its caption beside it."""
    from vpaudit import captions
    from vpaudit.figures import latex as tables
    from vpaudit.study import Study

    made = {"metrics": tables.metrics(Study(layout.results)), "claims": tables.claims(io.read_json(layout.summary))}
    for name, text in made.items():
        caption = captions.with_commit(name, config.model_dump(mode="json"))
        for kind, content in (("tex", text), ("txt", caption)):
            with io.atomic(layout.figure(name, kind)) as temporary:
                temporary.write_text(content, encoding="utf-8")


def report(config: Config, layout: Layout) -> None:
    """tables, figures, arrays -> report.html."""
    from vpaudit import report as module

    module.build(layout.results, layout.figures, layout.report, config.report.redact)


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Parquet, whole or not at all."""
    with io.atomic(path) as temporary:
        table.reset_index(drop=True).to_parquet(temporary, index=False)
