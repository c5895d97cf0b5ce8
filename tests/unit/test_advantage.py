"""Reconstruction advantage, against riskcal, closed forms, and attacks that are simulated."""

import numpy as np
import pytest
from riskcal.calibration.dpsgd import get_advantage_for_dpsgd, get_beta_for_dpsgd
from scipy.stats import norm

from vpaudit.base.errors import VpauditError
from vpaudit.privacy import accounting, rero
from vpaudit.privacy.advantage import advantage


def simulate(mu, candidates, trials, seed, decide):
    """Shares of (own, other): the record named from a release that holds it, and from one that holds another."""
    rng = np.random.default_rng(seed)
    target, other = rng.integers(candidates, size=(2, trials))
    hits = []
    for held in (target, other):
        scores = rng.standard_normal((trials, candidates))
        scores[np.arange(trials), held] += mu
        hits.append(decide(scores, target).mean())
    return hits


@pytest.mark.parametrize("mu", [0.5, 1.0])
def test_an_adversary_told_the_record_breaks_rero_and_not_the_advantage(mu):
    """Guerra-Balboa et al.'s counter-example: 8 candidates, the adversary knows which one it asks about and answers it
    when its score is above the mean of all. Hayes' bound is about one that does not know."""
    found, without = simulate(
        mu, 8, 200_000, 0, lambda scores, target: np.take_along_axis(scores, target[:, None], 1)[:, 0] > scores.mean(1)
    )
    bound = advantage(1 / mu, 1.0, 1, 1 / 8, replace=True, same=1 / 8)
    assert found > rero.gamma_of_mu(mu, 1 / 8) + 0.1
    assert without > 0.4  # it answers the record nearly as often without
    assert 0.5 * bound.knowing_anything < found - without < bound.knowing_anything


@pytest.mark.parametrize("mu", [0.5, 2.0, 4.0])
@pytest.mark.parametrize("candidates", [2, 50])
def test_an_adversary_told_nothing_stays_below_its_own_bound(mu, candidates):
    found, without = simulate(mu, candidates, 100_000, 1, lambda scores, target: scores.argmax(1) == target)
    bound = advantage(1 / mu, 1.0, 1, 1 / candidates, replace=True, same=1 / candidates)
    assert without == pytest.approx(1 / candidates, abs=0.01)
    assert found - without <= bound.knowing_nothing + 0.005
    assert bound.knowing_nothing <= bound.knowing_anything


def test_full_batch_in_closed_form():
    found = advantage(2.0, 1.0, 16, 0.01)  # mu = 2
    assert found.success == pytest.approx(norm.cdf(2 + norm.ppf(0.01)), rel=1e-12)
    assert found.at_baseline == pytest.approx(found.success - 0.01)
    assert found.knowing_anything == pytest.approx(float(accounting.delta_of_epsilon(2.0, 0.0)), rel=1e-6)
    assert found.knowing_nothing == pytest.approx(found.at_baseline)  # below the peak, g - p rises
    assert advantage(2.0, 1.0, 16, 0.9).knowing_nothing == pytest.approx(found.knowing_anything, rel=1e-6)
    replaced = advantage(2.0, 1.0, 16, 0.01, replace=True, same=0.01)
    assert replaced.success == pytest.approx(norm.cdf(4 + norm.ppf(0.01)), rel=1e-12)
    assert replaced.knowing_anything == pytest.approx(0.99 * (2 * norm.cdf(2) - 1), rel=1e-6)


def test_subsampled_steps_against_riskcal():
    noise, q, steps, baseline = 1.0, 0.05, 100, 0.02
    found = advantage(noise, q, steps, baseline)
    arguments = {"noise_multiplier": noise, "sample_rate": q, "num_steps": steps}
    assert found.success == pytest.approx(rero.gamma_poisson(noise, q, steps, baseline).high, rel=1e-9)
    # riskcal's curve is that of both directions, and never below ours
    theirs = 1 - float(get_beta_for_dpsgd(alpha=baseline, **arguments))
    assert theirs - 0.01 < found.success < theirs + 1e-3
    assert found.knowing_anything == pytest.approx(float(get_advantage_for_dpsgd(**arguments)), abs=2e-3)
    replaced = advantage(noise, q, steps, baseline, replace=True)
    assert found.success < replaced.success < 1


def test_bad_baselines_are_named():
    with pytest.raises(VpauditError, match="baseline=1"):
        advantage(1.0, 1.0, 1, 1.0)
    with pytest.raises(VpauditError, match=r"same=0\.5 without replace"):
        advantage(1.0, 1.0, 1, 0.1, same=0.5)
