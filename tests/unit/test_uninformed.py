"""The uninformed adversary's law, against simulation, scipy and the closed forms of paper.md section 1."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from vpaudit.base.errors import VpauditError
from vpaudit.privacy import uninformed as u

PIXELS, MU, CLIP = 48, 3.0, 1.5


@pytest.fixture(scope="module")
def simulated():
    """x in [-1, 1], 40,000 releases y = lambda x + sigma z as the mechanism draws them, and x_hat = y / lambda."""
    rng = np.random.default_rng(7)
    x = rng.uniform(-0.9, 0.6, PIXELS)
    sigma, lam = CLIP / MU, min(1, CLIP / np.linalg.norm(x))
    x_hat = (lam * x + sigma * rng.standard_normal((40_000, PIXELS))) / lam
    mse = ((x_hat - x) ** 2).mean(axis=1)
    # PSNR after mapping to [0, 1], where its data range is 1: the same number as on [-1, 1] with data range 2
    psnr = -10 * np.log10((((x_hat + 1) / 2 - (x + 1) / 2) ** 2).mean(axis=1))
    centred = x_hat - x_hat.mean(axis=1, keepdims=True)
    ncc = centred @ (x - x.mean()) / np.linalg.norm(centred, axis=1) / np.linalg.norm(x - x.mean())
    return {"x": x, "s": u.effective_noise(np.linalg.norm(x), MU, CLIP), "mse": mse, "psnr": psnr, "ncc": ncc}


def law_of_mse(s, pixels):
    """s^2 chi2_N / N."""
    return stats.gamma(pixels / 2, scale=2 * s**2 / pixels)


def test_mse_law_is_that_of_the_simulated_mechanism(simulated):
    s = simulated["s"]
    assert simulated["mse"].mean() == pytest.approx(u.mse_mean(s), rel=5e-3)
    assert stats.kstest(simulated["mse"], law_of_mse(s, PIXELS).cdf).pvalue > 1e-3
    for q in (0.05, 0.5, 0.95):
        assert np.quantile(simulated["mse"], q) == pytest.approx(u.mse_quantile(q, s, PIXELS), rel=0.02)


def test_psnr_law_is_that_of_the_simulated_mechanism(simulated):
    s, psnr = simulated["s"], simulated["psnr"]
    assert psnr.mean() == pytest.approx(u.psnr_mean(s, PIXELS), abs=0.03)
    for q in (0.05, 0.5, 0.95):
        assert np.quantile(psnr, q) == pytest.approx(u.psnr_quantile(q, s, PIXELS), abs=0.04)


def test_ncc_is_that_of_the_simulated_mechanism(simulated):
    assert simulated["ncc"].mean() == pytest.approx(u.ncc_mean(simulated["s"], simulated["x"].var()), abs=0.01)


def test_effective_noise():
    assert u.effective_noise(28, 10, 1) == pytest.approx(2.8)  # clipped: |x| / mu
    assert u.effective_noise(28, 10, 28) == pytest.approx(2.8)
    assert u.effective_noise(7, 10, 28) == pytest.approx(2.8)  # not clipped: sigma = C / mu
    assert u.effective_noise([28, 7], 10, 14) == pytest.approx([2.8, 1.4])


def test_known_numbers():
    # norm 28, mu 10: s = 2.8, MSE 7.84; 10 log10(4 / 7.84) = -2.9226 dB; mean PSNR is 10 log10(e)/N above, N = 3072
    assert u.mse_mean(2.8) == pytest.approx(7.84)
    assert u.psnr_mean(2.8, 3072) == pytest.approx(-2.922561 + 4.342945 / 3072, abs=1e-5)
    assert u.ncc_upper(10, 3072) == pytest.approx(31.72**-0.5)  # 1 + 3072 / 100
    # data range 1 in place of 2 is 20 log10 2 = 6.02 dB less, and halving sigma with it changes nothing
    assert u.psnr_mean(2.8, 3072, 1) == pytest.approx(u.psnr_mean(2.8, 3072) - 6.0206, abs=1e-4)
    assert u.psnr_mean(1.4, 3072, 1) == pytest.approx(u.psnr_mean(2.8, 3072))


@pytest.mark.parametrize("pixels", [1, 10, 784, 3072, 196_608])
def test_against_scipy_distributions(pixels):
    s, q = 1.7, np.array([1e-4, 0.05, 0.5, 0.95, 0.9999])
    law = law_of_mse(s, pixels)
    np.testing.assert_allclose(u.mse_quantile(q, s, pixels), law.ppf(q), rtol=1e-9)
    np.testing.assert_allclose(u.mse_quantile(q, s, pixels), s**2 * stats.chi2.ppf(q, pixels) / pixels, rtol=1e-9)
    np.testing.assert_allclose(u.psnr_quantile(q, s, pixels), 10 * np.log10(4 / law.isf(q)), rtol=1e-9)


def test_ncc_upper_is_met_at_mean_zero_and_only_there():
    rng = np.random.default_rng(1)
    x = rng.normal(size=300)
    for shift in (0.0, 0.5):
        x = x - x.mean() + shift
        s = u.effective_noise(np.linalg.norm(x), 5, 1)
        gap = u.ncc_upper(5, 300) - u.ncc_mean(s, x.var())
        assert gap == pytest.approx(0, abs=1e-12) if shift == 0 else gap > 0.01


def test_a_constant_image_has_no_correlation():
    assert u.ncc_mean(1.0, 0.0) == 0


@settings(deadline=None)
@given(st.floats(0.01, 50), st.integers(2, 200_000), st.floats(0.01, 0.99), st.floats(1.001, 3))
def test_more_noise_is_worse(s, pixels, q, factor):
    assert u.mse_quantile(q, s * factor, pixels) > u.mse_quantile(q, s, pixels)
    assert u.psnr_quantile(q, s * factor, pixels) < u.psnr_quantile(q, s, pixels)
    assert u.psnr_mean(s * factor, pixels) == pytest.approx(u.psnr_mean(s, pixels) - 20 * np.log10(factor))
    assert u.ncc_mean(s * factor, 0.3) < u.ncc_mean(s, 0.3)
    assert u.psnr_quantile(q, s, pixels) == pytest.approx(10 * np.log10(4 / u.mse_quantile(1 - q, s, pixels)))


def test_arrays_broadcast():
    assert u.mse_quantile([[0.1], [0.2]], [1.0, 1.5, 2.0], 784).shape == (2, 3)
    assert u.ncc_mean([0.1, 0.2, 0.3], 0.3).shape == (3,)
    assert isinstance(float(u.psnr_mean(1.0, 784)), float)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: u.mse_mean(0), "s=0"),
        (lambda: u.mse_mean(float("nan")), "s=nan"),
        (lambda: u.mse_mean("much"), "s='much'"),
        (lambda: u.mse_quantile(1.0, 1, 10), "q=1"),
        (lambda: u.mse_quantile(0.5, 1, 10.5), "pixels=10.5"),
        (lambda: u.psnr_mean(1, 0), "pixels=0"),
        (lambda: u.psnr_mean(1, 10, data_range=-2), "data_range=-2"),
        (lambda: u.ncc_mean(1, -0.1), "variance=-0.1"),
        (lambda: u.ncc_upper([1, -3], 10), "mu=-3"),
        (lambda: u.effective_noise(1, 1, 0), "max_grad_norm=0"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(VpauditError) as caught:
        call()
    assert words in caught.value.message
    assert caught.value.hint


def test_data_range_is_that_of_the_library():
    from vpaudit.base import pixels as ranges

    assert u.DATA_RANGE == ranges.DATA_RANGE
