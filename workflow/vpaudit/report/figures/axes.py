"""The axes that every figure over mu shares."""

import matplotlib.pyplot as plt
import numpy as np

from vpaudit.base.labels import number, power
from vpaudit.report.results import Study


def epsilon_axis(axes, study: Study, columns: int) -> None:
    """A second axis on top: epsilon at the study's delta, at as many of the grid's mu as fit side by side.

    Args:
        columns: panels beside each other, which decides how much room a number has.
    """
    top = axes.secondary_xaxis("top")
    shown = _apart(study.mu, 0.075 * columns * _need(axes))
    top.set_xticks(shown, [number(study.epsilon(mu)) for mu in shown])
    top.minorticks_off()
    top.set_xlabel(f"ε at δ = {power(study.config['mechanism']['delta'])}")


def mu_axis(axes, study: Study, label: bool = True) -> None:
    """Logarithmic mu with the grid's own ticks, as many labelled as fit side by side."""
    axes.set_xscale("log")
    need = _need(axes)
    shown = _apart(study.mu, 0.05 * (need * axes.get_subplotspec().get_gridspec().ncols if need > 1.2 else 1.0))
    axes.set_xticks(study.mu, [f"{mu:g}" if mu in shown else "" for mu in study.mu])
    axes.minorticks_off()
    axes.margins(x=0.04)
    if label:
        axes.set_xlabel("µ = C/σ")


def _need(axes) -> float:
    """Room that a number takes, as a share of the figure's width, over that of the default style."""
    return plt.rcParams["font.size"] / 8.0 * 7.0 / axes.figure.get_figwidth()


def _apart(mu: list[float], gap: float) -> list[float]:
    """The first, the last, and between them those at least `gap` of the logarithmic axis apart."""
    places = np.log(mu) / max(np.log(mu[-1] / mu[0]), 1e-9) if len(mu) > 1 else np.zeros(1)
    kept = [0]
    for i in range(1, len(mu)):
        if places[i] - places[kept[-1]] >= gap:
            kept.append(i)
    last = len(mu) - 1
    if kept[-1] != last:
        kept = [k for k in kept if k == 0 or places[last] - places[k] >= gap] + [last]
    return [mu[i] for i in kept]
