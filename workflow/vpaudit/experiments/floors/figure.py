"""Attacks beside the floors under their error: on the study's targets, and on the prior's own images."""

import pandas as pd

from vpaudit.base.labels import LABELS
from vpaudit.report.figures.axes import mu_axis
from vpaudit.report.figures.panels import intervals, legend, lines, read
from vpaudit.report.results import Results

LOWEST = 1e-3  # MSE below which floors are not drawn
TARGETS, OWN = "MSE on the targets", "MSE on the prior's own images"
ATTACKS = ("posterior_mean", "posterior_mean_untold")
LOOKS = {  # name in the table: label, number of its colour and marker
    "posterior_mean": (f"{LABELS['posterior_mean']}, told λ", 0),
    "posterior_mean_untold": (f"{LABELS['posterior_mean']}, not told λ", 5),
    "floor": ("floor: theorem, 95 %", 2),
    "network within 0% of the mmse": ("floor if the network is perfect", 1),
    "network within 5% of the mmse": ("… or within 5 % of the mmse", 4),
    "network within 20% of the mmse": ("… or within 20 %", 3),
    "prior": ("estimate from small balls, 97 centres", 6),
}


def draw(results, style: dict):
    study = Results(results)
    numbers = pd.concat([*_on_targets(results, study), *_on_own_images(results)], ignore_index=True)
    shown = numbers[numbers["prior"].isin(LOOKS) & (numbers["value"] >= LOWEST)]
    shown = shown.assign(label=shown["prior"].map(lambda name: LOOKS[name][0]))
    order = {label: place for name, (label, place) in LOOKS.items() if name in set(shown["prior"])}
    dashed = [label for label in order if label.startswith(("floor", "…", "estimate"))]
    grid = lines(shown, "mu", "label", style, 0.55, order=order, dashed=dashed, col="panel", col_order=(TARGETS, OWN))
    for axes in grid.axes.flat:
        mu_axis(axes, study)
        axes.set_yscale("log")
    sure = numbers["low"] == numbers["high"]  # a limit has no interval of its own
    return legend(grid.figure, 3), numbers.assign(**{name: numbers[name].mask(sure) for name in ("low", "high")})


def _on_targets(results, study: Results):
    for attack in ATTACKS:
        yield study.curve("unconditional", attack, "mse").assign(prior=attack, quantity="attack", panel=TARGETS)
    yield study.bound("floor", "mse").assign(prior="floor", quantity="mse_floor", panel=TARGETS)
    table = read(results, "experiments/theory")
    yield table[table["quantity"].isin(("mse_floor", "break_even"))].assign(panel=TARGETS)


def _on_own_images(results):
    table = read(results, "experiments/prediction").query("source == 'prior' and prior == 'unconditional'")
    found = intervals(table[table["attack"] == "posterior_mean"], ["mu"])
    yield found.assign(prior="posterior_mean", quantity="attack", panel=OWN)
    table = read(results, "experiments/theory")
    yield table[(table["quantity"] == "distance_floor") & (table["metric"] == "mse")].assign(panel=OWN)
