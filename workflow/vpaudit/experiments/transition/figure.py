"""The share recovered against mu: of the attacked images, and predicted from images that are not attacked."""

import itertools

import pandas as pd

from vpaudit.report.figures.panels import MU, legend, level, lines, log_axis, read
from vpaudit.report.results import Results, ends, projected, share_recovered
from vpaudit.report.words import distance

SOURCES = {"targets": "attacked images", "reference": "predicted: training images", "prior": "predicted: prior's own"}
MOST = 0.5  # share recovered, of the axis
COLUMNS = ["quantity", "metric", "source", "attack", "margin", "mu", "value", "low", "high", "upper", "n"]


def draw(results, style: dict):
    study, table = Results(results), read(results, "experiments/transition")
    pairs = itertools.product(study.measured, SOURCES)
    found = pd.concat([of(study, table, *pair) for pair in pairs], ignore_index=True)
    shown = found[(found["quantity"] == "share") & (found["mu"] <= table["mu"].max())]
    named = shown.assign(name=shown["metric"].map(distance)).replace({"source": SOURCES})
    grid = lines(named, "mu", "source", style, 0.42, col="name")
    for margin in study.margins:
        level(grid.axes.flat, margin)
    log_axis(grid.axes.flat, shown["mu"], MU)
    grid.axes.flat[0].set(ylabel="share recovered", ylim=(-0.05, MOST))
    return legend(grid.figure, len(SOURCES)), pd.concat([found, _of_every_attack(study)], ignore_index=True)


def of(study: Results, table: pd.DataFrame, metric: str, source: str) -> pd.DataFrame:
    """DDIM's shares and ends: measured, or predicted from one source of images."""
    shares = study.recovered("ddim", metric)
    if source != "targets":
        rows = table[(table["source"] == source) & (table["metric"] == metric)]
        own = rows[rows["image"] == rows["other"]].pivot_table(index="image", columns="mu", values="value")
        shares = share_recovered(own, projected(rows[rows["image"] != rows["other"]]), metric)
    about = {"metric": metric, "source": source, "attack": "unconditional, ddim"}
    return pd.concat([shares.assign(quantity="share", **about), ended(study, shares, about)]).reindex(columns=COLUMNS)


def ended(study: Results, shares: pd.DataFrame, about: dict[str, str]) -> pd.DataFrame:
    """A row a margin; its value is the mu up to which less is recovered."""
    found = pd.Series(ends(shares, study.margins), name="value").rename_axis("margin").reset_index()
    return found.assign(quantity="end", n=study.images, **about)


def _of_every_attack(study: Results) -> pd.DataFrame:
    """The ends of every other attack of the study, under every prior."""
    runs = study.metrics[["prior", "attack"]].drop_duplicates().itertuples(index=False)
    return pd.concat([
        ended(study, study.recovered(attack, metric, prior),
              {"metric": metric, "source": "targets", "attack": f"{prior}, {attack}"})
        for (prior, attack), metric in itertools.product(runs, study.measured)
        if (prior, attack) != ("unconditional", "ddim")
    ])  # fmt: skip
