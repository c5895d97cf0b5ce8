"""What theory allows an adversary with a realistic prior, from results/<study>/theory.parquet, beside the attacks."""

import itertools
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from vpaudit.base import stats
from vpaudit.base.errors import VpauditError
from vpaudit.base.labels import LABELS, METRICS
from vpaudit.report.figures import style as styles
from vpaudit.report.figures.axes import mu_axis
from vpaudit.report.figures.panels import MARKERS, PALETTE, read
from vpaudit.report.results import Results


def _read(results) -> pd.DataFrame:
    path = Path(results) / "theory.parquet"
    if not path.exists():
        raise VpauditError(f"{path} does not exist", "run `snakemake theory`, which makes it")
    return pd.read_parquet(path)


def _draw(axes, rows: pd.DataFrame, label: str, number: int, dash: str = "-", floor: float = -np.inf) -> None:
    rows = rows.sort_values("mu")
    colour = PALETTE[number % len(PALETTE)]
    axes.plot(
        rows["mu"], rows["value"].clip(lower=floor), dash, color=colour, marker=MARKERS[number % len(MARKERS)],
        markersize=2.6, label=label,
    )  # fmt: skip
    axes.fill_between(
        rows["mu"], rows["low"].clip(lower=floor), rows["high"].clip(lower=floor), color=colour, alpha=0.2, linewidth=0
    )


def information(results, style: dict):
    """Bits about one image: leaked at most, by prior and by theory; and the price of a wrong prior."""
    table, study = _read(results), Results(Path(results))
    figure, panels = plt.subplots(1, 2, figsize=styles.size(style, 0.5))
    leaked = table[table["quantity"] == "information"]
    for number, (prior, rows) in enumerate(leaked.groupby("prior", sort=False)):
        _draw(panels[0], rows, LABELS.get(prior, prior), number, "--" if prior not in LABELS else "-", 1e-3)
    price = table[table["quantity"] == "kl"]
    for number, (prior, rows) in enumerate(price.groupby("prior", sort=False), start=1):
        _draw(panels[1], rows, LABELS.get(prior, prior), number)
    panels[0].set(yscale="log", ylabel="bits about one image, at most")
    panels[1].set_yscale("symlog", linthresh=1.0)
    panels[1].set_ylabel("bits lost to a wrong prior\n(relative to: no class known)")
    panels[1].axhline(0, color="black", linewidth=0.7, linestyle=":")
    for axes in panels:
        mu_axis(axes, study)
        axes.legend(frameon=False)
    return figure, pd.concat([leaked, price], ignore_index=True)


LOWEST = 1e-4  # MSE below which floors are drawn as this


def floors(results, style: dict):
    """A panel a metric: attacks, and what no attack can beat."""
    table, study = _read(results), Results(Path(results))
    metrics = study.measured
    figure, panels = plt.subplots(1, len(metrics), figsize=styles.size(style, 0.5), squeeze=False)
    tables = []
    for axes, metric in zip(panels[0], metrics):
        info = METRICS[metric]
        for number, attack in enumerate(("posterior_mean", "ddim")):
            curve = study.curve("unconditional", attack, metric)
            _draw(axes, curve, LABELS[attack], number)
            tables.append(curve.assign(prior=attack, metric=metric, quantity="attack"))
        rows = table[(table["metric"] == metric) & (table["quantity"] == "distance_floor")]
        if info.higher_is_better:  # the table holds 1 - value
            rows = rows.assign(value=1 - rows["value"], low=1 - rows["high"], high=1 - rows["low"])
        _draw(axes, rows, "ReRo at a distance, prior's samples", 2, "--", LOWEST if metric == "mse" else -np.inf)
        tables.append(rows)
        if metric == "mse":
            found = table[(table["quantity"] == "mse_floor") & (table["value"] > LOWEST)]
            for number, name in ((4, "van Trees, best smoothing"), (6, "Shannon")):
                _draw(axes, found[found["prior"] == name], f"floor: {name}", number, "--", LOWEST)
                tables.append(found[found["prior"] == name])
            axes.set_yscale("log")
        rero = study.bound("rero", metric)
        axes.plot(rero["mu"], rero["value"].clip(lower=LOWEST), color="black", linestyle="-.", label="(0, γ)-ReRo")
        mu_axis(axes, study)
        axes.set_title(f"{info.label} ({'↑' if info.higher_is_better else '↓'} closer)")
    entries = {}
    for axes in panels[0]:
        entries |= {label: handle for handle, label in zip(*axes.get_legend_handles_labels())}
    figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=3, frameon=False)
    return figure, pd.concat(tables, ignore_index=True)


SOURCES = {"targets": "attacked images", "reference": "predicted: training images", "prior": "predicted: prior's own"}
KINDS = {"others": "others' targets", "unrelated": "unrelated images"}


def transition(results, style: dict):
    """mu* by metric and baseline: measured on the attacked images, and predicted from images that are not attacked."""
    study, table = Results(Path(results)), read(results, "transition")
    figure, axes = plt.subplots(figsize=styles.size(style, 0.5))
    rows = [
        _thresholds(metric, kind, source, "unconditional, ddim", *_gap(study, table, metric, kind, source))[0]
        for metric in study.measured
        for kind in KINDS
        for source in SOURCES
    ]
    found = pd.DataFrame(rows, columns=THRESHOLD)
    names = [f"{METRICS[m].label},\nagainst {KINDS[k]}" for m, k in dict.fromkeys(zip(found["metric"], found["kind"]))]
    for number, (source, label) in enumerate(SOURCES.items()):
        part = found[found["source"] == source]
        y = np.arange(len(part)) + 0.22 * (number - 1)
        errors = [part["value"] - part["low"], part["high"] - part["value"]]
        axes.errorbar(
            part["value"], y, xerr=np.maximum(errors, 0), fmt=MARKERS[number], color=PALETTE[number], label=label,
            markersize=4, capsize=2,
        )  # fmt: skip
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xscale("log")
    ticks = [mu for mu in study.mu if mu <= 10 * found["high"].max()]
    axes.set_xticks(ticks, [f"{mu:g}" for mu in ticks])
    axes.minorticks_off()
    axes.set_xlabel("µ* below which output is no closer to its target than the baseline")
    axes.legend(frameon=False)
    return figure, pd.concat([found, _of_every_attack(study)], ignore_index=True)


THRESHOLD = ["metric", "kind", "source", "attack", "quantity", "value", "low", "high", "n"]


def _thresholds(metric, kind, source, attack, gap: np.ndarray, mus: list[float]) -> list[tuple]:
    """Rows of THRESHOLD: where the mean gap crosses 0, and the last mu at which a corrected test shows no gap."""
    crossing = stats.bootstrap(gap, lambda g: stats.crossing(mus, g.mean(0)))
    tested = stats.last_indistinct(mus, gap)
    rows = [("threshold", *(float(v) for v in crossing)), ("last mu not told apart", tested, np.nan, np.nan)]
    return [(metric, kind, source, attack, *row, len(gap)) for row in rows]


def _of_every_attack(study: Results) -> pd.DataFrame:
    """Thresholds of every attack of the study under every prior, but for those that `transition` draws."""
    rows = []
    runs = study.metrics[["prior", "attack"]].drop_duplicates().itertuples(index=False)
    for (prior, attack), metric, kind in itertools.product(runs, study.measured, KINDS):
        who = f"{prior}, {attack}"
        found = _thresholds(metric, kind, "targets", who, *_measured_gap(study, metric, kind, prior, attack))
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


FIGURES = {"information": information, "floors": floors, "transition": transition}
