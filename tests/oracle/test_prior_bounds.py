"""Information and floors where both are known: Gaussian data. A lost factor of two would show in each."""

import numpy as np
import pytest
from closed_forms import gaussian_mse

from vpaudit.base.errors import VpauditError
from vpaudit.privacy import floor, information

PIXELS = 40
VARIANCES = 2.0 / np.arange(1, PIXELS + 1) ** 1.2
GRID = np.geomspace(0.01, 300, 400)


@pytest.mark.parametrize("s", [0.05, 0.5, 3.0, 30.0])
def test_information_of_a_gaussian_to_one_percent(s):
    """I-MMSE on the exact mmse curve against 1/2 ln det(1 + C / s^2), by numpy's determinant."""
    curve = gaussian_mse(VARIANCES, GRID)
    got = information.integral_over_snr(GRID, curve, np.array([s]))[0]
    want = 0.5 * np.linalg.slogdet(np.eye(PIXELS) + np.diag(VARIANCES) / s**2)[1]
    assert got == pytest.approx(want, rel=0.01)
    assert information.gaussian_information(VARIANCES, s) == pytest.approx(want, rel=1e-9)


@pytest.mark.parametrize("s", [0.1, 1.0, 10.0])
def test_price_of_a_wrong_gaussian_prior_is_its_kl(s):
    """Half the integral of excess error against KL(N(0, P + s^2) || N(d, Q + s^2)) in closed form."""
    rng = np.random.default_rng(0)
    q, shift = VARIANCES * rng.uniform(0.3, 3, PIXELS), 0.3 * rng.standard_normal(PIXELS)
    excess = gaussian_mse(q, GRID, VARIANCES, shift) - gaussian_mse(VARIANCES, GRID)
    assert (excess >= -1e-12).all()
    got = information.integral_over_snr(GRID, excess, np.array([s]))[0]
    a, b = VARIANCES + s**2, q + s**2
    want = 0.5 * np.sum(a / b + shift**2 / b - 1 + np.log(b / a))
    assert got == pytest.approx(want, rel=0.01, abs=1e-4)


def test_wiener_error_by_simulation():
    rng = np.random.default_rng(1)
    q, shift, s = VARIANCES[::-1].copy(), np.full(PIXELS, 0.2), 0.7
    x = rng.standard_normal((100_000, PIXELS)) * np.sqrt(VARIANCES) + shift
    y = x + s * rng.standard_normal(x.shape)
    estimate = y * q / (q + s**2)  # prior of mean 0
    assert np.square(x - estimate).sum(1).mean() == pytest.approx(gaussian_mse(q, s, VARIANCES, shift), rel=0.01)


def test_capacity_caps_and_is_below_half_mu_squared():
    mu = np.array([0.0, 1.0, 5.0, 50.0])
    assert (information.capacity(mu, 784) <= mu**2 / 2).all()
    assert information.capacity(1.0, 784) == pytest.approx(0.5, rel=1e-3)
    # equal variances 1/N are the worst case of unit power: then the Gaussian bound is the capacity
    assert information.gaussian_information(np.full(784, 1 / 784), 1 / 5.0) == pytest.approx(
        information.capacity(5.0, 784), rel=1e-12
    )


def test_a_curve_is_not_asked_beyond_its_ends():
    with pytest.raises(VpauditError, match="asked of a curve"):
        information.integral_over_snr(GRID, GRID, np.array([1000.0]))


ROTATION, _ = np.linalg.qr(np.random.default_rng(7).standard_normal((PIXELS, PIXELS)))


def scores(count, a, seed):
    """Scores of x + a w, x Gaussian in a rotated basis: -(C + a^2)^-1 x1."""
    rng = np.random.default_rng(seed)
    x1 = rng.standard_normal((count, PIXELS)) * np.sqrt(VARIANCES + a**2)
    return -(x1 / (VARIANCES + a**2)) @ ROTATION.T


@pytest.mark.parametrize("a", [0.05, 0.25])
@pytest.mark.parametrize("s", [0.5, 2.0, 10.0])
def test_van_trees_is_tight_for_gaussian_data(a, s):
    """Scores are linear, so the floor is the mmse itself: to 1 % with many samples, and from below."""
    found = floor.fisher_information(scores(40_000, a, 0), scores(40_000, a, 1), a)
    mmse = gaussian_mse(VARIANCES, s)
    bound, error = floor.van_trees(found, s), floor.van_trees_error(found, s)
    assert bound == pytest.approx(mmse, rel=0.01)
    assert bound < mmse + 3 * error


def test_few_samples_err_to_the_safe_side_where_the_naive_floor_does_not():
    """60 samples of 40 dimensions: eigenvalues from the same samples lift the floor above the mmse."""
    a, s = 0.25, 2.0
    mmse = gaussian_mse(VARIANCES, s)
    split = [floor.fisher_information(scores(60, a, 2 * i), scores(60, a, 2 * i + 1), a) for i in range(20)]
    assert np.mean([floor.van_trees(f, s) for f in split]) < 1.01 * mmse
    naive = [floor.fisher_information(v, v, a) for v in (scores(60, a, i) for i in range(20))]
    assert np.mean([floor.van_trees(f, s) for f in naive]) > 1.02 * mmse


def test_principal_directions_bring_the_floor_closer_from_below():
    """Of 200 samples eigenvectors are scrambled; the images' own directions are not, and are found to be better."""
    a, s = 0.25, 2.0
    mmse = gaussian_mse(VARIANCES, s)
    pairs = [(scores(200, a, 2 * i), scores(200, a, 2 * i + 1)) for i in range(20)]
    alone = np.mean([floor.van_trees(floor.fisher_information(*pair, a), s) for pair in pairs])
    helped = np.mean([floor.van_trees(floor.fisher_information(*pair, a, ROTATION), s) for pair in pairs])
    assert alone < helped < 1.01 * mmse
    assert mmse - helped < 0.5 * (mmse - alone)


def test_a_floor_is_refused_below_its_smoothing():
    found = floor.Information(0.5, np.ones(3), np.zeros(3))
    with pytest.raises(VpauditError, match="not above the smoothing"):
        floor.van_trees(found, 0.4)


@pytest.mark.parametrize("s", [2.0, 5.0])
def test_the_certified_floor_is_below_the_mmse_and_near_its_closed_form(s):
    """Few, equally spread dimensions: E e^(-r d) = (1 + 4 r v / N)^(-N/2) in closed form."""
    pixels, v = 8, 0.5
    z = np.random.default_rng(0).standard_normal((1500, pixels)) * np.sqrt(v)
    mse = np.maximum(np.square(z).sum(1)[:, None] + np.square(z).sum(1) - 2 * z @ z.T, 0) / pixels
    nats, mmse = pixels / 2 * np.log1p(v / s**2), v * s**2 / (v + s**2)
    exact = max((pixels / 4 * np.log1p(4 * r * v / pixels) - nats) / r for r in floor.RATES)
    assert floor.certified(mse, nats) < exact < mmse
    assert floor.certified(mse, nats, None) == pytest.approx(exact, rel=0.1)
    assert floor.certified(mse, nats) > 0.5 * exact
    assert floor.certified(mse, 50.0) == 0.0


@pytest.mark.parametrize("s", [0.5, 2.0])
def test_conditional_floor_of_a_network_a_little_too_coarse(s):
    """F(0) of a perfect network is the mmse itself; errors 5 % too large anywhere lift F(0), never F(0.05)."""
    a, mmse = 0.25, gaussian_mse(VARIANCES, s)
    perfect, none = VARIANCES * a**2 / (VARIANCES + a**2), np.zeros(PIXELS)
    assert floor.conditional(perfect, none, a, s, 0.0) == pytest.approx(mmse, rel=1e-9)
    extra = 0.05 * perfect.sum()
    spread, piled = 1.05 * perfect, perfect + extra * np.eye(PIXELS)[PIXELS // 2]
    for errors in (spread, piled):
        assert floor.conditional(errors, none, a, s, 0.0) > mmse
        assert floor.conditional(errors, none, a, s, 0.05) <= mmse * (1 + 1e-9)
    assert floor.conditional(spread, none, a, s, 0.2) < floor.conditional(spread, none, a, s, 0.1)


def test_break_even_is_where_the_conditional_floor_meets_the_level():
    a, s = 0.25, 2.0
    errors, none = VARIANCES * a**2 / (VARIANCES + a**2), np.zeros(PIXELS)
    level = 0.7 * gaussian_mse(VARIANCES, s)
    at = floor.break_even(errors, none, a, s, level)
    assert floor.conditional(errors, none, a, s, at) == pytest.approx(level, rel=1e-6)
    assert floor.break_even(errors, none, a, s, 1e9) == 0.0
    assert floor.break_even(errors, none, a, s, -1.0) == float("inf")
    with pytest.raises(VpauditError, match="not above the smoothing"):
        floor.conditional(errors, none, 0.5, 0.4, 0.0)


def test_information_limit_is_above_the_truth_and_near_it():
    """Gaussian signals, cut to the ball: 2,000 of them, a limit that fails in 1 of 20 samples at most."""
    mus, pixels = np.array([0.5, 2.0, 5.0]), 20
    variances = np.full(pixels, 0.3 / pixels)
    exact = information.gaussian_information(variances, 1 / mus)
    below = np.zeros(3)
    for seed in range(100):
        signals = np.random.default_rng(seed).standard_normal((600, pixels)) * np.sqrt(variances)
        signals /= np.maximum(np.linalg.norm(signals, axis=1, keepdims=True), 1)
        found = information.information_limit(signals, mus)
        below += found < exact
        assert (found < 1.35 * exact).all()
    assert (below <= 5 + 3 * 2.2).all()


def test_the_floor_from_images_alone_is_below_the_mmse_and_says_something():
    pixels, v = 8, 0.1
    images = np.random.default_rng(0).standard_normal((2000, pixels)) * np.sqrt(v)
    mus = np.array([0.05, 0.5, 50.0])
    found = floor.certified_by_images(images, mus, 1.0)
    norms = np.maximum(np.linalg.norm(images, axis=1), 1.0)
    mmse = np.array([(v * s**2 / (v + s**2)).mean() for s in norms / mus[:, None]])
    assert (found < mmse).all()
    assert found[0] > 0.5 * v
    assert found[2] == 0


def test_interval_of_van_trees_floor():
    """Information along fixed directions, each from 400 scores: a chi-square about the truth."""
    a, truth = 0.25, 1 / (VARIANCES + 0.25**2)
    exact = floor.van_trees(floor.Information(a, truth, np.zeros(PIXELS)), 1.0)
    hits = 0
    for seed in range(400):
        scores = np.random.default_rng(seed).standard_normal((400, PIXELS)) * np.sqrt(truth)
        found = floor.Information(a, *floor.along(scores, np.eye(PIXELS)))
        hits += abs(floor.van_trees(found, 1.0) - exact) <= 1.96 * floor.van_trees_error(found, 1.0)
    assert hits / 400 >= 0.93 - 2 * np.sqrt(0.93 * 0.07 / 400)
