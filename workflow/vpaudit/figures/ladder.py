"""How much the prior decides: the same observations read with better and worse knowledge of what images look like."""

import matplotlib.pyplot as plt
import pandas as pd

from vpaudit.figures.study import LABELS, METRICS, Study, epsilon_axis, mu_axis

LADDER = ("true_class", "unconditional", "wrong_class")


def draw(study: Study, style: dict):
    """One panel a metric: MSE relative to the unconditional prior, the others absolute."""
    figure, panels = plt.subplots(
        1, len(study.measured), figsize=(style["width"], 0.45 * style["width"]), squeeze=False
    )
    tables = [_panel(axes, study, metric, style["colours"]) for axes, metric in zip(panels[0], study.measured)]
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False)
    return figure, pd.concat(tables, ignore_index=True)


def _panel(axes, study: Study, metric: str, colours: dict) -> pd.DataFrame:
    base = study.curve("unconditional", "posterior_mean", metric)["value"].astype(float).to_numpy()
    steps = [(p, "posterior_mean") for p in LADDER] + [("gaussian", "wiener"), ("none", "raw")]
    tables = []
    for prior, attack in steps:
        curve = study.curve(prior, attack, metric)
        if curve.empty:
            continue
        scale = base if metric == "mse" else 1.0
        value, low, high = (curve[k].astype(float) / scale for k in ("value", "low", "high"))
        axes.plot(curve["mu"], value, color=colours[prior], marker="o", markersize=2.5, label=LABELS[prior])
        axes.fill_between(curve["mu"], low, high, color=colours[prior], alpha=0.2, linewidth=0)
        tables.append(curve.assign(prior=prior, attack=attack, relative=value, metric=metric))
    mu_axis(axes, study)
    epsilon_axis(axes, study)
    label, higher = METRICS[metric]
    if metric == "mse":
        axes.set_yscale("log")
        axes.set_ylabel("MSE relative to no class known")
        ticks = [0.8, 1, 1.5, 2, 3, 5]
        axes.set_yticks(ticks, [f"{t:g}" for t in ticks])
        axes.minorticks_off()
    else:
        axes.set_ylabel(f"{label}  ({'↑' if higher else '↓'} closer)")
    return pd.concat(tables, ignore_index=True)
