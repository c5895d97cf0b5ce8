"""Quality over T rounds: at fixed mu a round, and at fixed total epsilon, with and without Poisson sampling."""

from dataclasses import replace

import pandas as pd
import torch

from vpaudit.attack import rounds
from vpaudit.base.pixels import per_image
from vpaudit.experiments.bench import Bench, progress
from vpaudit.privacy import accounting
from vpaudit.privacy.mechanism import Mechanism

ROUNDS = (1, 4, 16, 64)
SAMPLE_RATE = 0.25
MU_MOST = 200.0  # of all rounds together


def run(bench: Bench) -> pd.DataFrame:
    """Columns rounds, budget ("mu a round" or "epsilon"), sampling, adversary, mu_round, mu_total; MSE."""
    tables = []
    for count in progress(ROUNDS, f"rounds mu={bench.mu:g}"):
        if bench.mu * count**0.5 <= MU_MOST:
            tables += _full(bench, count, bench.mu, "mu a round")
            tables += _sampled(bench, count, bench.mu, "mu a round")
        tables += _full(bench, count, bench.mu / count**0.5, "epsilon")
        if count > 1:
            tables += _sampled(bench, count, _mu_for_epsilon(bench, count), "epsilon")
    return pd.concat(tables, ignore_index=True)


def _mu_for_epsilon(bench: Bench, count: int) -> float:
    """mu of a round such that T Poisson-sampled rounds cost the epsilon of one release of the bench's mu."""
    delta = bench.config.mechanism.delta
    epsilon = float(accounting.epsilon_of_mu(bench.mu, delta))
    return 1.0 / accounting.noise_multiplier_for_epsilon(epsilon, delta, SAMPLE_RATE, count)


def _full(bench, count, mu, budget):
    rule = Mechanism(mu, bench.mechanism.max_grad_norm)
    seen = rounds.combine([bench.release(rule, t) for t in range(count)])
    columns = {"rounds": count, "budget": budget, "sampling": "every round", "adversary": "mean"}
    return [bench.errors(bench.posterior_mean(seen), mu_round=mu, mu_total=mu * count**0.5, **columns)]


def _sampled(bench, count, mu, budget):
    rule = Mechanism(mu, bench.mechanism.max_grad_norm)
    y, present = rounds.release_sampled(
        bench.x, bench.ids, bench.labels, rule, count, SAMPLE_RATE, bench.config.dataset, bench.config.seed
    )
    one = bench.release(rule)
    mean, lam, sigma = rounds.blind_mean(y, one.lam, rule.sigma, SAMPLE_RATE)
    took = present.double().sum(0)
    sums = (present.double()[..., None, None, None] * y.double()).sum(0)
    seen = {
        "mean": replace(one, y=mean, lam=lam, sigma=sigma, blank=None),
        # who takes part in no round stays unseen: an observation of one round's noise about nothing
        "told": replace(
            one,
            y=torch.where(per_image(took) > 0, sums / per_image(took.clamp_min(1)), y[0].double()).float(),
            sigma=rule.sigma / took.clamp_min(1).sqrt(),
            blank=None,
        ),
    }
    if count > 1:
        seen["told apart"] = rounds.told_apart(y, one, SAMPLE_RATE, lambda o: bench.posterior_mean(bench.within(o)))[0]
    columns = {"rounds": count, "budget": budget, "sampling": f"Poisson {SAMPLE_RATE:g}"}
    columns |= {"mu_round": mu, "mu_total": mu * (SAMPLE_RATE * count) ** 0.5}
    return [bench.errors(bench.posterior_mean(bench.within(o)), adversary=name, **columns) for name, o in seen.items()]
