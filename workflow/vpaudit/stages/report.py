"""Tables to claims, figures and the page. Torch is never imported here."""

import pandas as pd

from vpaudit.base import files
from vpaudit.base.files import write_table
from vpaudit.study import shards
from vpaudit.study.config import Config
from vpaudit.study.layout import MEASURED, Layout


def collect(config: Config, layout: Layout) -> None:
    """parts/<table>/mu=*.parquet -> <table>.parquet of every table that is measured."""
    for table in MEASURED:
        names = (["unrelated"] if table == "baselines" else []) + shards.names(config)
        write_table(layout.table(table), pd.concat([pd.read_parquet(layout.part(table, name)) for name in names]))


def summary(config: Config, layout: Layout) -> None:
    """tables -> summary.json: claims with value, interval and verdict; run.json: what ran, where, and for how long."""
    from vpaudit.report import paper_claims as module

    files.write_json(layout.summary, module.build(config, layout))
    files.write_json(layout.run, module.run(layout))


def figure(config: Config, layout: Layout, name: str) -> None:
    """tables -> figures/<study>/<name>.{pdf,png,csv,txt}."""
    from vpaudit.report import figures

    figures.render(name, layout.results, layout.figure(name, "png").parent, config.figures.style)


def latex(config: Config, layout: Layout) -> None:
    """tables, summary -> figures/<study>/{metrics,claims}.tex, each with its caption beside it."""
    from vpaudit.report import captions
    from vpaudit.report import latex as tables
    from vpaudit.report.results import Results

    made = {
        "metrics": tables.metrics(Results(layout.results)),
        "claims": tables.claims(files.read_json(layout.summary)),
    }
    for name, text in made.items():
        caption = f"{captions.text(name, config.model_dump(mode='json'))}\n"
        for kind, content in (("tex", text), ("txt", caption)):
            with files.atomic(layout.figure(name, kind)) as temporary:
                temporary.write_text(content, encoding="utf-8")


def report(config: Config, layout: Layout) -> None:
    """tables, figures, arrays -> report.html."""
    from vpaudit.report import page as module

    module.build(layout.results, layout.figures, layout.report, config.report.redact)


def closing(config: Config, layout: Layout) -> None:
    """Print what a finished study found, and where its page is."""
    from vpaudit.report import paper_claims

    print(paper_claims.closing(layout))
