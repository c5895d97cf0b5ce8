"""Accuracy over the error of the best guess, of each adversary; a point is a budget."""

from vpaudit.base.adversaries import ADVERSARIES
from vpaudit.report.figures import tradeoff
from vpaudit.report.figures.panels import intervals, read


def draw(results, style: dict):
    learnt, attacked = read(results, "experiments/utility"), read(results, "experiments/adversaries")
    same = ["sample_rate", "steps"]
    attacked = attacked[attacked["metric"] == "mse"].merge(learnt[same].drop_duplicates(), on=same)
    seen = intervals(attacked, ["adversary", "epsilon", "noise_multiplier"]).drop(columns="n")
    seen = seen.rename(columns={"value": "seen", "low": "seen_low", "high": "seen_high"})
    accuracies = tradeoff.costs(learnt)
    without = float(accuracies.loc[accuracies["noise_multiplier"] == 0, "value"].iloc[0])
    numbers = accuracies.drop(columns="epsilon").merge(seen, on="noise_multiplier")
    numbers["line"] = numbers["adversary"].map({name: about.label for name, about in ADVERSARIES.items()})
    return tradeoff.draw(numbers, "MSE of the best guess", without, style), numbers.assign(without=without)
