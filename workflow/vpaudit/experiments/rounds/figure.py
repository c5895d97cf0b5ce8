"""Rows: the budget held fixed; columns: mu; lines: sampling of rounds, and what the adversary makes of them."""

from vpaudit.report.figures.panels import intervals, legend, lines, log_axis, read, row_labels

BUDGETS = {"mu a round": "µ of each round fixed", "epsilon": "ε of all rounds fixed"}
ADVERSARIES = {
    ("every round", "mean"): "in every round",
    ("Poisson 0.25", "told"): "sampled at ¼, rounds known",
    ("Poisson 0.25", "told apart"): "sampled at ¼, rounds told apart",
    ("Poisson 0.25", "mean"): "sampled at ¼, mean of all rounds",
}


def draw(results, style: dict):
    table = read(results, "experiments/rounds")
    numbers = intervals(table, ["rounds", "budget", "sampling", "adversary", "mu_round", "mu_total", "mu"])
    label = [ADVERSARIES.get(pair) for pair in zip(numbers["sampling"], numbers["adversary"])]
    grid = lines(
        numbers.assign(label=label), "rounds", "label", style, 0.6, order=ADVERSARIES.values(), row="budget",
        row_order=list(BUDGETS), col="mu", title="µ = {col_name:g}",
    )  # fmt: skip
    grid.set(yscale="log")
    row_labels(grid, {budget: f"{text}\nMSE of the posterior mean" for budget, text in BUDGETS.items()})
    log_axis(grid.axes[-1], table["rounds"], "rounds")
    return legend(grid.figure, 2), numbers
