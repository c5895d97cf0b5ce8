"""The bound on success, where success is known in closed form: images uniform on a sphere, an attack that scales y.

Clipped Gaussian images are uniform on a sphere of radius r. For the attack a y / lambda the squared error over (a s)^2
is noncentral chi-squared of N degrees of freedom: about ((1 - a) r / a s)^2 with the target, about (r / a s)^2 without.
"""

import numpy as np
import pytest
from scipy.stats import chi2, ncx2, norm

from vpaudit.privacy.small_ball import BANDWIDTHS, kappa_limit, kappa_limit_mse
from vpaudit.privacy.success import success_limit, success_test, visual_mu


def success(mse, gain, mu, pixels, strength=1.0, radius=1.0):
    """P(|z - a y / lambda|^2 <= N mse) where y = strength lambda z + sigma w."""
    s = radius / mu
    off = ((1 - gain * strength) * radius / (gain * s)) ** 2
    return ncx2.cdf(pixels * mse / (gain * s) ** 2, pixels, off)


@pytest.mark.parametrize("pixels", [2, 20, 784])
@pytest.mark.parametrize("mu", [0.2, 1.0, 5.0])
@pytest.mark.parametrize("gain", [0.02, 0.3, 1.0, 2.0])
def test_no_scaling_attack_passes_the_bound(pixels, mu, gain):
    real = ncx2.ppf([1e-3, 0.1, 0.5, 0.9, 0.999], pixels, ((1 - gain) * mu / gain) ** 2) * (gain / mu) ** 2 / pixels
    assert (success(real, gain, mu, pixels) <= success_limit(mu, success(real, gain, mu, pixels, 0.0)) + 1e-9).all()
    for strength in (0.3, 0.7):  # the reference is a weaker release of the same image
        weaker = success(real, gain, mu, pixels, strength)
        assert (success(real, gain, mu, pixels) <= success_limit(mu, weaker, 1 - strength) + 1e-9).all()


@pytest.mark.parametrize("mu", [0.5, 3.0])
def test_the_bound_is_reached_by_an_attack_that_is_told_the_image(mu):
    threshold = np.array([-1.0, 0.0, 2.0])  # it returns the image if <y, z> / (sigma |z|) is above
    assert success_limit(mu, norm.sf(threshold)) == pytest.approx(norm.sf(threshold - mu), abs=1e-12)
    assert success_limit(mu, [0.0, 1.0]).tolist() == [0.0, 1.0]
    assert success_limit(0.0, 0.3) == 0.3


def test_pooled_bound_of_unlike_targets_is_the_best_division_of_the_level():
    """Against a search over how two kinds of targets share the level; and a constant separation is no special case."""
    rho, mu, level = np.array([0.2, 0.9]), 3.0, 0.1
    shares = np.linspace(0, 2 * level, 20_001)[1:-1]
    powers = (norm.cdf(mu * rho[0] + norm.ppf(shares)) + norm.cdf(mu * rho[1] + norm.ppf(2 * level - shares))) / 2
    assert success_limit(mu, level, rho) == pytest.approx(powers.max(), abs=1e-7)
    alike = success_limit(mu, level, np.array([0.5, 0.5 + 1e-9]))
    assert alike == pytest.approx(success_limit(mu, level, 0.5), abs=1e-6)


def counts(mu, etas, trials, seed, gain=0.3, pixels=10, strength=1.0, leak=1.0):
    """Successes at each eta among `trials` releases; leak: the noise is that much weaker than mu says."""
    rng = np.random.default_rng(seed)
    y = strength * np.eye(1, pixels) + rng.standard_normal((trials, pixels)) / (mu * leak)
    error = np.square(np.eye(1, pixels) - gain * y).sum(1) / pixels
    return (error[:, None] <= etas).sum(0)


ETAS = np.linspace(0.02, 0.2, 12)


def test_violations_are_rare_where_the_bound_holds_and_found_where_noise_is_missing():
    called = [
        success_test(3, counts(3, ETAS, 300, t), counts(3, ETAS, 300, 10**6 + t, strength=0), (300, 300), 12)
        for t in range(200)
    ]
    assert np.mean([test.violated.any() for test in called]) <= 0.05
    leaking = success_test(
        1.0, counts(1.0, ETAS, 300, 0, leak=5), counts(1.0, ETAS, 300, 1, strength=0.0), (300, 300), 12
    )
    assert leaking.violated.any()


@pytest.mark.parametrize(("mu", "strength"), [(2.0, 0.0), (5.0, 0.0), (10.0, 0.5)])
def test_visual_mu_is_below_its_true_value_and_mu(mu, strength):
    """The lower limit holds; against a weaker release it reaches further than against noise."""
    levels = [np.clip(success(ETAS, 0.3, mu, 10, held), 1e-15, 1 - 1e-15) for held in (1.0, strength)]
    best = np.max(norm.ppf(levels[0]) - norm.ppf(levels[1])) / (1 - strength)
    lows = []
    for trial in range(100):
        real, reference = counts(mu, ETAS, 500, trial), counts(mu, ETAS, 500, 10**6 + trial, strength=strength)
        lows.append(visual_mu(real, reference, (500, 500), 1 - strength)[1])
    assert best <= mu + 1e-9
    assert np.mean(np.array(lows) <= best) >= 0.95
    assert np.median(lows) > 0.4 * min(best, 4.0 / (1 - strength))


def test_visual_mu_of_unlike_targets_inverts_the_pooled_bound():
    rho, mu = np.array([0.3, 0.5, 0.8]), 4.0
    reference = 10**5
    real = round(10**6 * float(success_limit(mu, 0.1, rho)))
    value, low = visual_mu([real], [reference], (10**6, 10**6), rho)
    assert value == pytest.approx(mu, rel=0.01)
    assert 0.97 * mu < low < value
    assert visual_mu([5], [50], (100, 100)) == (0.0, 0.0)


def test_limits_of_kappa_are_above_kappa_for_gaussian_images():
    """Images N(0, v): the best centre is 0, and |Z|^2 / v is chi-squared; E k = (1 + 2 v / h^2)^(-N/2)."""
    pixels, v = 6, 0.3
    eta = v * chi2.ppf([1e-3, 0.02, 0.1, 0.5], pixels) / pixels
    kappa = np.array([1e-3, 0.02, 0.1, 0.5])
    above = []
    for trial in range(60):
        z = np.random.default_rng(trial).standard_normal((200, pixels)) * np.sqrt(v)
        mse = np.square(z[:, None] - z).mean(2)
        above.append((kappa_limit_mse(mse, pixels, eta) >= kappa).all())
        above.append((kappa_limit(np.sqrt(mse), np.sqrt(eta)) >= kappa).all())
    assert np.mean(above) >= 0.95
    z = np.random.default_rng(0).standard_normal((3000, pixels)) * np.sqrt(v)
    mse = (np.square(z).sum(1)[:, None] + np.square(z).sum(1) - 2 * z @ z.T) / pixels
    exact = np.exp(0.5 * eta / BANDWIDTHS[:, None]) * (1 + 2 * v / (pixels * BANDWIDTHS[:, None])) ** (-pixels / 4)
    assert kappa_limit_mse(mse, pixels, eta, None) == pytest.approx(np.minimum(exact.min(0), 1), rel=0.1)
