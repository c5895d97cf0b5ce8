"""A panel a mu: MSE of the mean of R draws over the posterior mean's, against network evaluations in all."""

from vpaudit.report.figures.panels import intervals, legend, level, lines, log_axis, read

SAMPLERS = {"ancestral": "ancestral", "multistep_2": "2nd-order SDE"}


def draw(results, style: dict):
    table = read(results, "experiments/averaging")
    table = table[table["metric"] == "mse"]
    base = table[table["sampler"] == "posterior_mean"]
    rows = table[table["sampler"].isin(SAMPLERS)]
    numbers = intervals(rows, ["sampler", "steps", "repeats", "calls", "mu"], base)
    label = numbers["sampler"].map(SAMPLERS) + numbers["steps"].map(", {:g} evaluations each".format)
    grid = lines(
        numbers.assign(draws="mean of draws, " + label), "calls", "draws", style, 0.62,
        col="mu", col_wrap=min(3, table["mu"].nunique()), title="µ = {col_name:g}",
    )  # fmt: skip
    level(grid.axes.flat, 1, "posterior mean, 1 evaluation")
    grid.set_ylabels("MSE / posterior mean's")
    log_axis(grid.axes.flat, (1, 10, 100, 1000), "network evaluations in all")
    return legend(grid.figure, 2), numbers
