"""Metric against mu: attacks with 95 % intervals, both bounds as a corridor, unrelated images as a line."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from vpaudit.base import stats
from vpaudit.base.labels import LABELS, LPIPS, METRICS
from vpaudit.report.figures import style as styles
from vpaudit.report.figures.axes import epsilon_axis, mu_axis
from vpaudit.report.results import Study, curve_of

PANELS = ("mse", "ncc", "ssim", "lpips_vgg_64")  # or lpips_vgg, where the study has that
ATTACKS = (
    ("none", "raw"),
    ("gaussian", "wiener"),
    ("unconditional", "posterior_mean"),
    ("unconditional", "ddim"),
    ("unconditional", "ddpm"),
)
MARKERS = {"raw": "x", "wiener": "^", "posterior_mean": "s", "ddim": "o", "ddpm": "D"}


def draw(results, style: dict):
    """Four panels, one a metric; legend below all. A metric that could not be computed says so in its place."""
    study = Study(results)
    there = set(study.metrics["metric"])
    shape, share = ((4, 1), 2.5) if styles.narrow(style) else ((2, 2), 0.9)
    figure, panels = plt.subplots(*shape, figsize=styles.size(style, share))
    tables = []
    shown = ["lpips_vgg" if m in LPIPS and "lpips_vgg" in there else m for m in PANELS]
    for axes, metric in zip(panels.flat, shown):
        if metric in there:
            tables.append(_panel(axes, study, metric, style["colours"], shape[1]))
        else:
            axes.axis("off")
            axes.text(0.5, 0.5, f"{METRICS[metric].label}:\nnot computed in this run", ha="center", va="center")
    entries = {}
    for axes in panels.flat:
        entries |= {label: handle for handle, label in zip(*axes.get_legend_handles_labels())}
    figure.legend(
        entries.values(),
        entries.keys(),
        loc="outside lower center",
        ncols=1 + shape[1],
        frameon=False,
        handlelength=2.6,
    )
    return figure, pd.concat(tables, ignore_index=True)


def _panel(axes, study: Study, metric: str, colours: dict, columns: int) -> pd.DataFrame:
    curves = [_attack(axes, study, *pair, metric, colours) for pair in ATTACKS]
    attacks = pd.concat(curves)
    baselines = [_unrelated(axes, study, metric, colours)]
    label, higher = METRICS[metric].label, METRICS[metric].higher_is_better
    if metric == "mse":
        axes.set_yscale("log")
        low, high = 0.6 * attacks["low"].min(), 2 * max(attacks["high"].max(), baselines[0]["high"].max())
    else:
        values = pd.concat([attacks, *baselines])
        low, high = min(0.0, values["low"].min()) - 0.03, max(1.0 if higher else 0.0, values["high"].max()) + 0.03
    bounds = _bounds(axes, study, metric, colours, low)
    axes.set_ylim(low, high)
    mu_axis(axes, study)
    epsilon_axis(axes, study, columns)
    axes.set_ylabel(f"{label}  ({'↑' if higher else '↓'} closer to target)")
    return pd.concat([*curves, *bounds, *baselines], ignore_index=True).assign(metric=metric)


def _attack(axes, study: Study, prior: str, attack: str, metric: str, colours: dict) -> pd.DataFrame:
    curve = study.curve(prior, attack, metric)
    if len(curve):
        colour = colours[attack]
        axes.plot(
            curve["mu"], curve["value"], color=colour, marker=MARKERS[attack], markersize=3.2, label=LABELS[attack],
            zorder=4,
        )  # fmt: skip
        axes.fill_between(curve["mu"], curve["low"], curve["high"], color=colour, alpha=0.25, linewidth=0, zorder=3)
    return curve.assign(curve=f"{prior}.{attack}")


def _unrelated(axes, study: Study, metric: str, colours: dict) -> pd.DataFrame:
    """Both forms of the baseline: test images against each other, and outputs against the targets of others."""
    colour = colours["unrelated"]
    value, low, high = (float(v) for v in stats.bootstrap(study.unrelated(metric).to_numpy()))
    axes.axhspan(low, high, color=colour, alpha=0.1, linewidth=0)
    axes.axhline(value, color=colour, linewidth=0.9, linestyle=":", label="unrelated test images")
    others = curve_of(study.others("ddim", metric))
    axes.plot(
        others["mu"], others["value"], color=colour, linewidth=0.9, linestyle=(0, (6, 2, 1, 2, 1, 2)),
        label="DDIM output, other targets",
    )  # fmt: skip
    axes.fill_between(others["mu"], others["low"], others["high"], color=colour, alpha=0.1, linewidth=0)
    line = pd.DataFrame({"curve": ["unrelated test images"], "value": [value], "low": [low], "high": [high]})
    return pd.concat([line, others.assign(curve="ddim output against other targets")], ignore_index=True)


def _bounds(axes, study: Study, metric: str, colours: dict, floor: float) -> list[pd.DataFrame]:
    """The two bounds, and where both exist the corridor between them."""
    lower, upper = study.bound("rero", metric), study.bound("uninformed", metric)
    floor = floor / 10 if metric == "mse" else -np.inf  # a zero cannot be drawn on a logarithmic axis
    for rows, name, text, dash in (
        (upper, "uninformed", "uninformed adversary", "--"),
        (lower, "rero", f"ReRo, 1 of {study.candidates:,} candidates", "-."),
    ):
        if len(rows):
            axes.plot(
                rows["mu"], rows["value"].clip(lower=floor), color=colours[name], linestyle=dash, label=text, zorder=2
            )
    if len(lower) and len(upper):
        axes.fill_between(
            lower["mu"], lower["value"].clip(lower=floor), upper["value"], color=colours["corridor"], alpha=0.28,
            linewidth=0, label="between the bounds", zorder=1,
        )  # fmt: skip
    columns = ["mu", "value", "low", "high"]
    return [rows[columns].assign(curve=n) for rows, n in ((lower, "rero"), (upper, "uninformed")) if len(rows)]
