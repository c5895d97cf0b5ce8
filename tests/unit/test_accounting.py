"""Accounting, against 60-digit arithmetic, dp-accounting, Opacus, riskcal and paper.md section 3."""

import mpmath
import numpy as np
import pytest
from dp_accounting import dp_event, gaussian_mechanism
from dp_accounting.pld import PLDAccountant
from hypothesis import given, settings
from hypothesis import strategies as st
from opacus.accountants import PRVAccountant
from opacus.accountants.analysis import gdp
from riskcal.analysis.conversions import get_advantage_from_gdp

from vpaudit.base.errors import VpauditError
from vpaudit.privacy import accounting

DELTA = 1e-5


def delta_to_60_digits(mu, epsilon):
    with mpmath.workdps(60):
        mu, epsilon = mpmath.mpf(float(mu)), mpmath.mpf(float(epsilon))
        first = mpmath.ncdf(mu / 2 - epsilon / mu)
        return first - mpmath.exp(epsilon) * mpmath.ncdf(-mu / 2 - epsilon / mu)


# ---------------------------------------------------------------- Gaussian differential privacy


@pytest.mark.parametrize(
    ("mu", "epsilon"), [(0.5, 1.99), (1, 4.38), (2, 10.0), (5, 33.1), (10, 91.8), (20, 284), (50, 1462)]
)
def test_values_of_the_brief(mu, epsilon):
    assert accounting.epsilon_of_mu(mu, DELTA) == pytest.approx(epsilon, rel=2e-3)


@pytest.mark.parametrize("mu", [1e-5, 1e-3, 0.1, 1, 5, 30, 137, 440, 1000])
def test_delta_against_60_digits(mu):
    """The whole curve, from delta near 1 to 1e-195."""
    for distance in (-30, -6, -1, -0.01, 0, 1, 5):
        epsilon = mu**2 / 2 - distance * mu
        if 0 <= epsilon <= 1e5:
            exact = float(delta_to_60_digits(mu, epsilon))
            assert accounting.delta_of_epsilon(mu, epsilon) == pytest.approx(exact, rel=1e-9, abs=1e-300)


@pytest.mark.parametrize("delta", [1e-100, 1e-30, 1e-10, 1e-5, 0.01, 0.5, 0.9])
@pytest.mark.parametrize("epsilon", [0.01, 0.1, 1, 8, 100, 1e3, 1e4, 1e5])
def test_mu_and_epsilon_against_60_digits(epsilon, delta):
    mu = accounting.mu_of_epsilon(epsilon, delta)
    assert abs(float(delta_to_60_digits(mu, epsilon) / delta) - 1) < 1e-7
    assert accounting.epsilon_of_mu(mu, delta) == pytest.approx(epsilon, rel=1e-9)


@pytest.mark.parametrize("mu", [0.01, 0.5, 1, 2, 5, 10, 20, 50, 137])
def test_against_dp_accounting(mu):
    epsilon = accounting.epsilon_of_mu(mu, DELTA)
    assert epsilon == pytest.approx(gaussian_mechanism.get_epsilon_gaussian(1 / mu, DELTA), rel=1e-9)
    assert mu == pytest.approx(1 / gaussian_mechanism.get_sigma_gaussian(epsilon, DELTA), rel=1e-6)


@pytest.mark.parametrize("mu", [0.5, 1, 2, 5, 10, 20])
def test_against_opacus_in_its_range(mu):
    assert accounting.epsilon_of_mu(mu, DELTA) == pytest.approx(gdp.eps_from_mu(mu=mu, delta=DELTA), rel=1e-6)


def test_against_riskcal():
    mu = np.array([0.01, 0.5, 1, 5, 20])  # at epsilon 0, delta is the advantage 2 Phi(mu/2) - 1
    np.testing.assert_allclose(accounting.delta_of_epsilon(mu, 0), get_advantage_from_gdp(mu), rtol=1e-10)


@settings(deadline=None)
@given(st.floats(0.01, 200), st.floats(1e-12, 0.1), st.floats(1.01, 2))
def test_epsilon_is_monotone(mu, delta, factor):
    epsilon = accounting.epsilon_of_mu(mu, delta)
    assert epsilon <= accounting.epsilon_of_mu(mu * factor, delta)
    assert epsilon >= accounting.epsilon_of_mu(mu, delta * factor)
    if epsilon > 0:
        assert accounting.delta_of_epsilon(mu, epsilon) == pytest.approx(delta, rel=1e-7)


@settings(deadline=None)
@given(st.floats(0.01, 1e4), st.floats(1e-12, 0.1))
def test_round_trip(epsilon, delta):
    assert accounting.epsilon_of_mu(accounting.mu_of_epsilon(epsilon, delta), delta) == pytest.approx(epsilon, rel=1e-8)


def test_null_case_and_arrays():
    assert accounting.epsilon_of_mu(1e-5, DELTA) == 0  # (0, delta)-DP already
    epsilons = accounting.epsilon_of_mu([1, 2], DELTA)
    assert epsilons.shape == (2,)
    assert epsilons[1] == accounting.epsilon_of_mu(2, DELTA)


def test_full_batch_composition():
    """16 releases at sigma 4 are one at sigma 1."""
    one = gaussian_mechanism.get_epsilon_gaussian(1.0, DELTA)
    assert accounting.epsilon_poisson(4, 1, 16, DELTA) == pytest.approx(one, rel=1e-9)


# ---------------------------------------------------------------- Poisson sampling


@pytest.mark.parametrize(
    ("noise_multiplier", "q", "steps"), [(1, 0.1, 100), (1, 0.01, 1000), (0.5, 0.1, 100), (0.3, 0.5, 10)]
)
def test_poisson_against_dp_accounting(noise_multiplier, q, steps):
    step = dp_event.PoissonSampledDpEvent(q, dp_event.GaussianDpEvent(noise_multiplier))
    accountant = PLDAccountant(value_discretization_interval=2e-4).compose(dp_event.SelfComposedDpEvent(step, steps))
    expected = accountant.get_epsilon(DELTA)
    assert accounting.epsilon_poisson(noise_multiplier, q, steps, DELTA) == pytest.approx(expected, rel=2e-4)


def test_poisson_against_opacus():
    accountant = PRVAccountant()
    accountant.history = [(1.0, 0.01, 1000)]
    assert accounting.epsilon_poisson(1, 0.01, 1000, DELTA) == pytest.approx(accountant.get_epsilon(DELTA), abs=0.02)


def test_poisson_at_large_epsilon():
    """One step, q = 1/2, in closed form: delta(e) of P = (N(0) + N(1)) / 2 against N(0) at e is q times the Gaussian's
    at log((e^e - 1 + q) / q), which is e + log 2 here."""
    for noise_multiplier in (0.3, 0.1, 0.05):
        exact = float(accounting.epsilon_of_mu(1 / noise_multiplier, 2 * DELTA)) - np.log(2)
        assert accounting.epsilon_poisson(noise_multiplier, 0.5, 1, DELTA) == pytest.approx(exact, rel=1e-4)
    assert exact > 250


def test_sample_rate_near_one_joins_the_closed_form():
    nearly, full = (accounting.epsilon_poisson(1, q, 25, DELTA) for q in (1 - 1e-9, 1))
    assert nearly == pytest.approx(full, rel=1e-4)
    assert full == pytest.approx(33.1037, abs=1e-3)


def test_sampling_and_steps():
    sampled = [accounting.epsilon_poisson(1, q, 50, DELTA) for q in (0.01, 0.1, 0.5, 1)]
    repeated = [accounting.epsilon_poisson(1, 0.1, steps, DELTA) for steps in (1, 10, 100)]
    assert np.all(np.diff(sampled) > 0)
    assert np.all(np.diff(repeated) > 0)


# ---------------------------------------------------------------- calibration and the whole budget


@settings(deadline=None)
@given(st.floats(0.01, 1e4), st.integers(1, 10_000))
def test_full_batch_calibration_round_trip(epsilon, steps):
    noise_multiplier = accounting.noise_multiplier_for_epsilon(epsilon, DELTA, steps=steps)
    if 0.01 <= noise_multiplier <= 1e4:
        assert accounting.epsilon_poisson(noise_multiplier, 1, steps, DELTA) == pytest.approx(epsilon, rel=1e-8)


@pytest.mark.parametrize(("epsilon", "q", "steps"), [(1, 0.1, 100), (8, 0.2, 20), (200, 0.5, 5)])
def test_poisson_calibration_is_on_the_private_side(epsilon, q, steps):
    noise_multiplier = accounting.noise_multiplier_for_epsilon(epsilon, DELTA, q, steps)
    assert (1 - 1e-4) * epsilon < accounting.epsilon_poisson(noise_multiplier, q, steps, DELTA) <= epsilon


def test_calibration_where_round_off_makes_epsilon_rise_with_noise(monkeypatch):
    """delta = 1e-9, 1e5 steps: epsilon(noise) wavers by 1e-3, above the tolerance that is otherwise met."""

    def wavering(noise_multiplier, sample_rate, steps, delta, interval):
        return 0.7 / noise_multiplier**3 * (1 + 1e-3 * np.sin(1e7 * noise_multiplier))

    monkeypatch.setattr(accounting, "_epsilon_pld", wavering)
    found = accounting.noise_multiplier_for_epsilon(1.0, 1e-9, 1e-4, 100_000)
    assert 1 - accounting.LOOSE < wavering(found, 1, 1, 1, 1) <= 1


def test_full_batch_calibration_has_no_range():
    """The closed form is exact at any noise: sqrt(T) / mu."""
    found = accounting.noise_multiplier_for_epsilon(0.01, 1e-9, steps=100_000)
    assert found == pytest.approx(100_000**0.5 / accounting.mu_of_epsilon(0.01, 1e-9))
    assert found > accounting.NOISE_RANGE[1]


@pytest.mark.parametrize(("q", "steps"), [(0.01, 1000), (0.2, 30)])
def test_gaussian_fit_is_the_least_curve_above_the_profile(q, steps):
    """Against dp-accounting's own reading of its PLD, both adjacencies at once."""
    fit = accounting.gaussian_fit(1.0, q, steps, 1e-7)
    sampled = dp_event.PoissonSampledDpEvent(q, dp_event.GaussianDpEvent(1.0))
    event = dp_event.SelfComposedDpEvent(sampled, steps)
    pld = PLDAccountant(value_discretization_interval=3e-4).compose(event)
    epsilons = np.linspace(0.02, accounting.epsilon_poisson(1.0, q, steps, 1e-7), 60)
    profile = np.array([pld.get_delta(e) for e in epsilons])
    assert (accounting.delta_of_epsilon(fit.mu, epsilons) >= 0.99 * profile).all()
    assert (accounting.delta_of_epsilon(0.98 * fit.mu, epsilons) < profile).any()
    excess = (accounting.delta_of_epsilon(fit.mu, epsilons) - profile).max()
    assert fit.excess == pytest.approx(excess, abs=0.002)
    points = [accounting.account(noise_multiplier=1.0, sample_rate=q, steps=steps, delta=d).mu for d in (1e-3, 1e-5)]
    assert fit.mu >= max(points)
    assert accounting.gaussian_fit(2.0, 1.0, 16, 1e-5) == accounting.GaussianFit(2.0, 0.0, 1e-5)


def test_account_from_noise():
    budget = accounting.account(noise_multiplier=1, sample_rate=0.01, steps=1000, delta=DELTA)
    assert budget.epsilon == pytest.approx(1.828, abs=2e-3)  # dp-accounting's PLD: 1.82824
    assert accounting.delta_of_epsilon(budget.mu, budget.epsilon) == pytest.approx(DELTA, rel=1e-6)
    # at 1e-5 a little above the central limit q sqrt(T (e - 1)) = .4145, which Opacus warns may under-state
    assert 0.41 < budget.mu < 0.48


def test_account_from_epsilon_mu_and_noise_agree():
    budget = accounting.account(epsilon=8, delta=DELTA)
    assert budget.noise_multiplier == pytest.approx(gaussian_mechanism.get_sigma_gaussian(8, DELTA), rel=1e-6)
    assert budget.mu == pytest.approx(1 / budget.noise_multiplier, rel=1e-12)
    assert accounting.account(mu=budget.mu, delta=DELTA).epsilon == pytest.approx(8, rel=1e-9)
    full = accounting.account(noise_multiplier=20, steps=100, delta=DELTA)
    assert full.mu == pytest.approx(0.5)
    assert full.epsilon == pytest.approx(1.993, abs=1e-3)
    assert accounting.account(mu=0.5, steps=100, delta=DELTA).noise_multiplier == pytest.approx(20)


@settings(max_examples=20, deadline=None)
@given(st.floats(0.02, 50))
def test_budget_is_made_of_plain_numbers(noise_multiplier):
    budget = accounting.account(noise_multiplier=noise_multiplier, delta=DELTA)
    assert all(type(value) in (float, int) for value in vars(budget).values())


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: accounting.epsilon_of_mu(0, DELTA), "mu=0"),
        (lambda: accounting.epsilon_of_mu(-1, DELTA), "mu=-1"),
        (lambda: accounting.epsilon_of_mu(1, 0), "delta=0"),
        (lambda: accounting.epsilon_of_mu(1, 1), "delta=1"),
        (lambda: accounting.epsilon_of_mu(900, DELTA), "epsilon=408"),
        (lambda: accounting.mu_of_epsilon(1e6, DELTA), "epsilon=1000000"),
        (lambda: accounting.mu_of_epsilon(0, DELTA), "epsilon=0"),
        (lambda: accounting.delta_of_epsilon(1, -1), "epsilon=-1"),
        (lambda: accounting.epsilon_poisson(0, 0.1, 10, DELTA), "noise_multiplier=0"),
        (lambda: accounting.epsilon_poisson(1, 0, 10, DELTA), "sample_rate=0"),
        (lambda: accounting.epsilon_poisson(1, 0.1, 0, DELTA), "steps=0"),
        (lambda: accounting.epsilon_poisson(1, 0.1, 10, 1e-12), "delta=1e-12"),
        (lambda: accounting.epsilon_poisson(0.01, 0.9, 1000, DELTA), "epsilon="),
        (lambda: accounting.account(delta=1e-9, epsilon=0.01, sample_rate=0.1, steps=100_000), "epsilon=0.01, delta="),
        (lambda: accounting.account(delta=DELTA, epsilon=9e4, sample_rate=0.9, steps=2), "multiplier below 0.01"),
        (lambda: accounting.account(delta=DELTA), "none"),
        (lambda: accounting.account(delta=DELTA, epsilon=1, mu=1), "epsilon, mu"),
        (lambda: accounting.account(delta=DELTA, noise_multiplier=1, sample_rate=1e-300), "sample_rate=1e-300"),
        (lambda: accounting.account(delta=DELTA, noise_multiplier=1e-9), "noise_multiplier=1e-09, steps=1: "),
        (lambda: accounting.account(delta=DELTA, epsilon=9e4, sample_rate=0.5), "epsilon=90000, delta=1e-05, sample"),
        (lambda: accounting.account(delta=DELTA, noise_multiplier=float("inf")), "noise_multiplier=inf"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(VpauditError) as caught:
        call()
    assert words in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(("noise_multiplier", "sample_rate", "epsilon"), [(4, 0.001, 0.00043302), (1e4, 1e-6, 0.0)])
def test_a_budget_too_small_to_tell_mu_from_is_known_all_the_same(noise_multiplier, sample_rate, epsilon):
    budget = accounting.account(noise_multiplier=noise_multiplier, sample_rate=sample_rate, delta=DELTA)
    assert budget.epsilon == pytest.approx(epsilon, rel=1e-4)
    assert np.isnan(budget.mu)


@pytest.mark.parametrize("epsilon", [1e-3, 1.0, 1e5])
def test_what_is_answered_can_be_asked(epsilon):
    """The noise multiplier of an epsilon gives that epsilon, at both ends of the range too."""
    noise = accounting.account(epsilon=epsilon, delta=DELTA).noise_multiplier
    assert accounting.account(noise_multiplier=noise, delta=DELTA).epsilon == pytest.approx(epsilon)
