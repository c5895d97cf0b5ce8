"""Facts of docs/engine.md: a question and an answer from each experiment's card, numbers from its figure's CSV file."""

from pathlib import Path

import jinja2
import pandas as pd

from vpaudit.base import labels
from vpaudit.base.errors import VpauditError
from vpaudit.experiments import catalog
from vpaudit.experiments.catalog import Card

FIGURES = Path("figures")
PHOTOGRAPHS = Path("results/priors")  # of benchmarks/photographs.py
STUDY = "embedded"


class Found:
    """A row of a figure's numbers: prints as value [interval], and gives its columns by name."""

    def __init__(self, row: pd.Series):
        self._row = row

    def __str__(self) -> str:
        return labels.interval(self._row["value"], self._row.get("low"), self._row.get("high"))

    def __getattr__(self, column: str) -> str:
        value = self._row[column]
        return value if isinstance(value, str) else f"{value:g}"


class Numbers:
    """What an answer may ask of a figure's numbers; a query is one of pandas, e.g. "metric == 'mse' and mu == 10"."""

    def __init__(self, table: pd.DataFrame):
        self.table = table

    def row(self, query: str) -> Found:
        """The only row."""
        rows = self.table.query(query)
        if len(rows) != 1:
            raise VpauditError(f"{len(rows)} rows for {query!r}", "ask for one row, or for the most or least of them")
        return Found(rows.iloc[0])

    def most(self, query: str) -> Found:
        """The row of the largest value."""
        return Found(self._rows(query).nlargest(1, "value").iloc[0])

    def least(self, query: str) -> Found:
        """The row of the smallest value."""
        return Found(self._rows(query).nsmallest(1, "value").iloc[0])

    def n(self) -> str:
        """How many images (or seeds) the values are over, "24 to 64" where that differs."""
        counts = sorted(self.table["n"].dropna().unique())
        return " to ".join(dict.fromkeys(f"{count:g}" for count in (counts[0], counts[-1])))

    def _rows(self, query: str) -> pd.DataFrame:
        rows = self.table.query(query).dropna(subset="value")
        if rows.empty:
            raise VpauditError(f"no row for {query!r}", "ask for what the CSV file of the figure holds")
        return rows


def page() -> dict:
    """docs/engine.md."""
    sections = [section(card) for card in catalog.cards().values() if card.question]
    return {"sections": sections, "photographs": photographs(PHOTOGRAPHS)}


def photographs(folder: Path) -> dict:
    """What benchmarks/photographs.py found; empty where it was not run.

    `runs`: a row by noise of each method and number of calls; `ahead`: who is; `times`: to equal quality; `sizes`: a
    row by side of each mu and attack; `whole`, `coarse`: error over that at the smallest side; `n`: images of each.
    """
    if not all((folder / f"{name}.csv").exists() for name in ("peers_256", "contest_256", "sizes")):
        return {}
    runs, ahead, sizes = (pd.read_csv(folder / f"{name}.csv") for name in ("peers_256", "contest_256", "sizes"))
    return {
        "runs": _nested(runs, ["method", "asked"], "grey_levels"),
        "ahead": Numbers(ahead),
        "times": ahead.loc[ahead["quantity"] == "time / ours", "value"],
        "sizes": _nested(sizes, ["mu", "attack"], "side"),
        "whole": _ratios(sizes, "mse_ratio"),
        "coarse": _ratios(sizes, "coarse_ratio"),
        "labels": labels.LABELS,
        "n": [int(table["n"].iloc[0]) for table in (runs, sizes)],
    }


def _nested(table: pd.DataFrame, keys: list[str], inner: str) -> dict[tuple, dict]:
    """{keys: {inner: row}}."""
    return {key: part.set_index(inner).to_dict("index") for key, part in table.groupby(keys, sort=False)}


def _ratios(sizes: pd.DataFrame, name: str) -> Numbers:
    """Of the larger sides, with the name of the column as that of a value."""
    larger = sizes[sizes["side"] > sizes["side"].min()]
    return Numbers(larger.rename(columns={name: "value", f"{name}_low": "low", f"{name}_high": "high"}))


def section(card: Card) -> dict:
    """The part of one experiment; an answer of None where it was not run."""
    folder = FIGURES / f"{card.record or STUDY}-engine"
    path = folder / f"{card.name}.csv"
    return {
        "question": card.question,
        "answer": answer(card, pd.read_csv(path)) if path.exists() else None,
        "title": card.title,
        "folder": folder.name,
        "name": card.name,
        "target": card.target,
    }


def answer(card: Card, table: pd.DataFrame) -> str:
    """The card's answer with the numbers of its figure, in one paragraph.

    Raises:
        VpauditError: the card asks for what the table does not hold.
    """
    numbers = Numbers(table)
    asked = {"row": numbers.row, "most": numbers.most, "least": numbers.least, "n": numbers.n}
    try:
        text = jinja2.Template(card.answer, undefined=jinja2.StrictUndefined).render(asked)
    except (VpauditError, jinja2.TemplateError, KeyError, pd.errors.UndefinedVariableError) as error:
        raise VpauditError(
            f"the answer in {card.folder}/card.yaml: {error}", "see `Numbers` in docs/engine.py"
        ) from None
    return " ".join(text.split())
