"""Small-ball probabilities and the ReRo floor at a distance, where both are known."""

import numpy as np
import pytest
from scipy.stats import chi2

from vpaudit.base.errors import VpauditError
from vpaudit.privacy.rero import gamma_of_mu
from vpaudit.privacy.small_ball import NEAREST, SmallBall


def gaussian_ball(dimension, samples, seed=0):
    z = np.random.default_rng(seed).standard_normal((samples, dimension))
    return SmallBall.of(np.square(z).sum(1)[None])


@pytest.mark.parametrize("dimension", [2, 6])
def test_kappa_of_a_gaussian_within_and_below_the_samples(dimension):
    """Squared distance to the centre is chi-squared: counted where samples lie, extended as eta^(m/2) below them."""
    ball = gaussian_ball(dimension, 20_000)
    eta = chi2.ppf([0.01, 0.1, 0.5], dimension)
    assert np.allclose(ball.kappa(eta), [0.01, 0.1, 0.5], rtol=0.1)
    assert ball.slopes[0] == pytest.approx(dimension / 2, abs=4 * ball.slopes[0] / np.sqrt(NEAREST - 3))
    small = chi2.ppf(1e-5, dimension)
    assert np.log(ball.kappa(small)) == pytest.approx(np.log(1e-5), abs=2.5)


def test_kappa_rises_and_is_the_best_centre():
    rng = np.random.default_rng(1)
    distances = rng.gamma(3.0, 1.0, size=(4, 500)) * np.array([1.0, 2.0, 0.5, 3.0])[:, None]
    ball, third = SmallBall.of(distances), SmallBall.of(distances[2:3])
    eta = np.geomspace(1e-4, 20, 200)
    assert (np.diff(ball.kappa(eta)) >= 0).all()
    assert (ball.kappa(eta) >= third.kappa(eta)).all()
    assert ball.kappa(0.0) == 0
    assert ball.kappa(distances.max()) == 1


def test_gamma_is_that_of_the_gaussian_mechanism():
    ball = gaussian_ball(3, 5000)
    eta = np.array([0.5, 1.0, 2.0])
    assert np.allclose(ball.gamma(eta, 2.0), gamma_of_mu(2.0, ball.kappa(eta)))
    assert np.allclose(ball.gamma(eta, 0.0), ball.kappa(eta))


def test_floor_without_a_release_is_the_mean_distance():
    """mu = 0: gamma = kappa, and the integral of 1 - F is the mean distance of the one centre."""
    ball = gaussian_ball(4, 20_000)
    assert ball.expected_floor(0.0) == pytest.approx(4.0, rel=0.02)
    assert ball.expected_floor(1.0) < ball.expected_floor(0.5) < ball.expected_floor(0.0)


def test_separate_candidates_give_the_papers_line():
    """k of n candidates on the centre, the others at squared distance 2: kappa = k/n below 2, so the floor is
    (1 - gamma) 2."""
    n, mu = 1000, 2.0
    distances = np.full((1, n), 2.0)
    distances[0, : NEAREST + 1] = 0.0
    kappa = (NEAREST + 1) / n
    floor = SmallBall.of(distances).expected_floor(mu)
    assert floor == pytest.approx(2 * (1 - gamma_of_mu(mu, kappa)), rel=0.01)


def test_no_adversary_beats_the_floor():
    """Directions uniform on a sphere, a release at mu: the posterior mean's squared error stays above the floor.

    By symmetry, centres along one axis, from the origin to the sphere, are all there are.
    """
    rng = np.random.default_rng(2)
    z = rng.standard_normal((20_000, 4))
    directions = z / np.linalg.norm(z, axis=1, keepdims=True)
    centres = np.linspace(0, 1, 41)[:, None] * np.eye(4)[:1]
    ball = SmallBall.of(np.square(directions[None] - centres[:, None]).sum(2))
    for mu in (0.5, 1.0, 3.0):
        y = directions + rng.standard_normal(z.shape) / mu
        estimate = y * (0.25 / (0.25 + 1 / mu**2))  # linear minimum mean square error for variance 1/4 a coordinate
        error = np.square(estimate - directions).sum(1).mean()
        assert 0.2 * error < ball.expected_floor(mu) <= error


def test_bad_distances_are_refused():
    with pytest.raises(VpauditError, match="too few"):
        SmallBall.of(np.ones((1, 10)))
    with pytest.raises(VpauditError, match="finite"):
        SmallBall.of(np.full((1, 100), -1.0))
