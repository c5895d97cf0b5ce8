"""From a training set-up to the mu of each adversary, and the grid around them."""

import numpy as np
import pytest

from vpaudit.base.errors import VpauditError
from vpaudit.commands.audit import budget
from vpaudit.privacy import accounting


def test_epsilon_of_a_training_gives_the_mu_of_each_adversary():
    setup = budget.setup(epsilon=[8.0], delta=1e-5, steps=1000, sample_rate=0.01)
    noise = setup.budgets[0].noise_multiplier
    assert noise == pytest.approx(accounting.noise_multiplier_for_epsilon(8.0, 1e-5, 0.01, 1000))
    assert {a.adversary: a.mu for a in setup.asked} == pytest.approx(
        {"final_model": 0.01 * np.sqrt(1000) / noise, "one_round": 1 / noise,
         "participation_known": np.sqrt(0.01 * 1000) / noise}, rel=1e-3,
    )  # fmt: skip
    assert setup.simulated == [noise]  # of unknown participation a simulation tells
    assert setup.asked[1].epsilon == pytest.approx(accounting.epsilon_of_mu(1 / noise, 1e-5), rel=1e-3)


def test_several_budgets_are_asked_about_at_once():
    setup = budget.setup(epsilon=[8.0, 1.0, 8.0], delta=1e-5, steps=100, sample_rate=0.05)
    assert [round(b.epsilon, 2) for b in setup.budgets] == [1.0, 8.0]
    assert len(setup.asked) == 6
    assert {a.meaning for a in setup.asked if a.training == 1} >= {"the final model alone, ε = 8"}
    assert not budget.setup(noise_multiplier=[1.0], steps=100).simulated  # the full batch: nothing is unknown


def test_one_release_has_one_mu():
    (asked,) = budget.setup(noise_multiplier=[0.2]).asked
    assert asked.mu == 5
    assert [a.mu for a in budget.setup(mu=[10, 5, 5.00001]).asked] == [5, 10]


def test_a_mu_beyond_every_epsilon_and_a_budget_below_are_no_errors():
    assert budget.setup(mu=[900.0]).asked[0].epsilon == float("inf")
    assert budget.setup(noise_multiplier=[4], sample_rate=0.001).asked[0].mu == 0.25
    with pytest.raises(VpauditError, match="mu=-1"):
        budget.setup(mu=[5.0, -1.0])


def test_steps_belong_to_a_noise_multiplier():
    with pytest.raises(VpauditError, match="all steps together"):
        budget.setup(mu=[5.0], steps=10)


def test_grid_holds_what_is_asked_and_steps_around_it():
    assert budget.grid([5.394], 0.1, 400) == [0.2, 0.5, 1, 2, 5.394, 10, 20, 50]
    assert budget.grid([0.01], 0.1, 400)[0] == 0.1
    assert 90 not in budget.grid([90.0], 0.1, 60)


def test_what_can_be_measured_follows_from_norms_and_noise():
    low, high = budget.measurable(np.array([10.0, 28.0]), 1.0, (0.02, 140.0), 1e-5)
    assert low == pytest.approx(0.2)
    assert high == pytest.approx(accounting.mu_of_epsilon(1e5, 1e-5))
    assert budget.measurable(np.array([2.0]), 4.0, (0.05, 140.0), 1e-5)[1] == pytest.approx(80)  # not clipped: C counts
