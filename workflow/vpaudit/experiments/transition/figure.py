"""mu* by metric and baseline: measured on the attacked images, and predicted from images that are not attacked."""

import itertools

import numpy as np
import pandas as pd

from vpaudit.base import stats
from vpaudit.base.labels import METRICS
from vpaudit.report.figures.panels import log_axis, panels, read
from vpaudit.report.results import Results

SOURCES = {"targets": "attacked images", "reference": "predicted: training images", "prior": "predicted: prior's own"}
KINDS = {"others": "others' targets", "unrelated": "unrelated images"}
THRESHOLD = ["metric", "kind", "source", "attack", "quantity", "value", "low", "high", "n"]


def draw(results, style: dict):
    study, table = Results(results), read(results, "experiments/transition")
    rows = [
        thresholds(metric, kind, source, "unconditional, ddim", *_gap(study, table, metric, kind, source))[0]
        for metric, kind, source in itertools.product(study.measured, KINDS, SOURCES)
    ]
    found = pd.DataFrame(rows, columns=THRESHOLD)
    names = (
        found["metric"].map({name: m.label for name, m in METRICS.items()}) + ",\nagainst " + found["kind"].map(KINDS)
    )
    grid = panels(found.assign(y=names).replace({"source": SOURCES}), "source", style, 0.5)
    places = {name: place for place, name in enumerate(names.unique())}
    shifts = dict(zip(SOURCES.values(), (-0.22, 0, 0.22)))

    def points(data, color, label, marker, **_):
        errors = np.maximum([data["value"] - data["low"], data["high"] - data["value"]], 0)
        y = data["y"].map(places) + shifts[label]
        grid.ax.errorbar(data["value"], y, xerr=errors, fmt=marker, color=color, label=label, markersize=4, capsize=2)

    grid.map_dataframe(points)
    grid.ax.set_yticks(range(len(places)), places)
    grid.ax.invert_yaxis()
    ticks = [mu for mu in study.mu if mu <= 10 * found["high"].max()]
    log_axis(grid.ax, ticks, "µ* below which output is no closer to its target than the baseline")
    grid.ax.legend(frameon=False)
    return grid.figure, pd.concat([found, _of_every_attack(study)], ignore_index=True)


def thresholds(metric, kind, source, attack, gap: np.ndarray, mus: list[float]) -> list[tuple]:
    """Rows of THRESHOLD: where the mean gap crosses 0, and the last mu at which a corrected test shows no gap."""
    crossing = stats.bootstrap(gap, lambda g: stats.crossing(mus, g.mean(0)))
    tested = stats.last_indistinct(mus, gap)
    rows = [("threshold", *(float(v) for v in crossing)), ("last mu not told apart", tested, np.nan, np.nan)]
    return [(metric, kind, source, attack, *row, len(gap)) for row in rows]


def _of_every_attack(study: Results) -> pd.DataFrame:
    """Thresholds of every attack of the study under every prior, but for those that are drawn."""
    rows = []
    runs = study.metrics[["prior", "attack"]].drop_duplicates().itertuples(index=False)
    for (prior, attack), metric, kind in itertools.product(runs, study.measured, KINDS):
        who = f"{prior}, {attack}"
        found = thresholds(metric, kind, "targets", who, *_measured_gap(study, metric, kind, prior, attack))
        rows += found[1:] if who == "unconditional, ddim" else found
    return pd.DataFrame(rows, columns=THRESHOLD)


def _measured_gap(study: Results, metric, kind, prior="unconditional", attack="ddim") -> tuple[np.ndarray, list[float]]:
    gap = study.gap(prior, attack, metric, kind)
    return gap.to_numpy(), list(gap.columns)


def _gap(study: Results, table: pd.DataFrame, metric: str, kind: str, source: str) -> tuple[np.ndarray, list[float]]:
    """(n, K) by how much output is closer to its own target than the baseline is, and the K values of mu."""
    if source == "targets":
        return _measured_gap(study, metric, kind)
    sign = -1 if METRICS[metric].higher_is_better else 1
    rows = table[(table["source"] == source) & (table["metric"] == metric)]
    own, other = (
        rows[rows["kind"] == k].pivot_table(index="image", columns="mu", values="value") for k in ("own", kind)
    )
    return sign * (other.to_numpy() - own.to_numpy()), list(own.columns)
