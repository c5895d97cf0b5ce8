"""Metric against mu: attacks with 95 % intervals, both bounds as a corridor, unrelated images as a line."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from vpaudit.figures.study import LABELS, METRICS, Study, epsilon_axis, mu_axis

ATTACKS = (
    ("none", "raw"),
    ("gaussian", "wiener"),
    ("unconditional", "posterior_mean"),
    ("unconditional", "ddim"),
    ("unconditional", "ddpm"),
)
MARKERS = {"raw": "x", "wiener": "^", "posterior_mean": "s", "ddim": "o", "ddpm": "D"}


def draw(study: Study, style: dict):
    """One panel a metric; legend below all."""
    figure, panels = plt.subplots(
        1, len(study.measured), figsize=(style["width"], 0.47 * style["width"]), squeeze=False
    )
    tables = [_panel(axes, study, metric, style["colours"]) for axes, metric in zip(panels[0], study.measured)]
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    return figure, pd.concat(tables, ignore_index=True)


def _panel(axes, study: Study, metric: str, colours: dict) -> pd.DataFrame:
    rows = [_attack(axes, study, *pair, metric, colours) for pair in ATTACKS]
    rows += _bounds(axes, study, metric, colours)
    value, low, high = study.unrelated(metric)
    axes.axhline(value, color=colours["unrelated"], linewidth=0.8, linestyle=":", label="unrelated test images")
    others = study.unrelated_curve("ddim", metric)
    axes.plot(
        others["mu"], others["value"], color=colours["unrelated"], linewidth=0.8, linestyle=(0, (1, 3)),
        label="DDIM output vs other targets",
    )  # fmt: skip
    rows.append(pd.DataFrame({"curve": ["unrelated test images"], "value": [value], "low": [low], "high": [high]}))
    rows.append(others.assign(curve="ddim output vs other targets"))
    mu_axis(axes, study)
    epsilon_axis(axes, study)
    label, higher = METRICS[metric]
    axes.set_ylabel(f"{label}  ({'↑' if higher else '↓'} closer)")
    if metric == "mse":
        axes.set_yscale("log")
        axes.set_ylim(2e-3, 4)
    else:
        axes.set_ylim(*((-0.08, 1.02) if higher else (-0.02, 1.0)))
    return pd.concat(rows, ignore_index=True).assign(metric=metric)


def _attack(axes, study: Study, prior: str, attack: str, metric: str, colours: dict) -> pd.DataFrame:
    curve = study.curve(prior, attack, metric)
    if len(curve):
        axes.plot(
            curve["mu"], curve["value"], color=colours[attack], marker=MARKERS[attack], markersize=3,
            label=LABELS[attack],
        )  # fmt: skip
        axes.fill_between(
            curve["mu"], curve["low"].astype(float), curve["high"].astype(float), color=colours[attack],
            alpha=0.25, linewidth=0,
        )  # fmt: skip
    return curve.assign(curve=f"{prior}.{attack}")


def _bounds(axes, study: Study, metric: str, colours: dict) -> list[pd.DataFrame]:
    lower, upper = study.bound("rero", metric), study.bound("uninformed", metric)
    for rows, name, text, dash in (
        (upper, "uninformed", "uninformed bound", "--"),
        (lower, "rero", "(0, γ)-ReRo, best identifier", "-."),
    ):
        if len(rows):
            values = np.maximum(rows["value"], 1e-6) if metric == "mse" else rows["value"]
            axes.plot(rows["mu"], values, color=colours[name], linestyle=dash, linewidth=1, label=text)
    if len(lower) and len(upper):
        axes.fill_between(
            lower["mu"], np.maximum(lower["value"], 1e-6), upper["value"], color="#bbbbbb", alpha=0.18, linewidth=0
        )
    return [
        rows[["mu", "value", "low", "high"]].assign(curve=n) for rows, n in ((lower, "rero"), (upper, "uninformed"))
    ]
