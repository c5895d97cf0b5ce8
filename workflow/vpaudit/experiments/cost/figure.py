"""Left: wall time of an attack over that of its network evaluations; right: evaluations a second, by arithmetic."""

import pandas as pd
import seaborn as sns

from vpaudit.report.figures.panels import PALETTE, legend, level, lines, log_axis, read

TIME, SPEED = "wall time / bare calls", "calls a second over float32's"


def draw(results, style: dict):
    overhead, network = (read(results, f"benchmarks/{name}") for name in ("overhead", "network"))
    whole = overhead.assign(
        quantity=TIME, value=overhead["ratio"], low=overhead["ratio_low"], high=overhead["ratio_high"]
    )
    numbers = pd.concat([whole, network.assign(quantity=SPEED, value=network["ratio"])], ignore_index=True)
    names = numbers["attack"].str.cat(numbers["calls"].map(", {:g} evaluations".format))
    # what has no attack gets no line, but its own panel
    shown = numbers.assign(
        label=names,
        panel=numbers["quantity"].map(
            {TIME: "attack / bare evaluations, wall time", SPEED: "evaluations a second / float32's"}
        ),
    )
    grid = lines(
        shown, "images", "label", style, 0.5, order=names.dropna().unique(), col="panel", sharex=False, sharey=False
    )
    time, speed = grid.axes.flat
    level(time, 1.05)
    log_axis(time, overhead["images"], "images")
    kinds = network["prior"] + "\n" + network["precision"] + ", " + network["how"]
    sns.barplot(x=network["ratio"], y=kinds, color=PALETTE[0], saturation=1, ax=speed)
    errors = [network["ratio"] - network["low"], network["high"] - network["ratio"]]
    speed.errorbar(network["ratio"], kinds, xerr=errors, fmt="none", ecolor="black", capsize=2)
    speed.set(xlabel="", ylabel="")
    return legend(grid.figure, 4), numbers
