"""Claims on what the paper leaves open, from invented tables whose answers are known."""

import numpy as np
import pandas as pd
import pytest
from fake_results import gains

from vpaudit.base import stats
from vpaudit.experiments.confident import claims as confident
from vpaudit.experiments.dpsgd import claims as dpsgd
from vpaudit.experiments.draws import claims as of_draws

IMAGES = 60


def test_gains_are_paired_by_seed_and_judged_together():
    claims = {c.id: c for c in dpsgd.of(gains())}
    verdicts = {name.split("_")[2]: claim.verdict for name, claim in claims.items()}
    assert verdicts == {"kalman": "confirmed", "wiener": "not confirmed", "subspace": "inconclusive"}
    kalman = claims["denoising_logistic_kalman_none"]
    assert kalman.value == pytest.approx(0.03, abs=0.004)
    assert kalman.high - kalman.low < 0.01  # the spread between seeds, 0.02, is shared and falls out
    assert kalman.n == 5


def test_holm_is_that_of_statsmodels_example_and_never_below_p():
    assert np.allclose(stats.holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    p = np.random.default_rng(0).random(20)
    assert (stats.holm(p) >= p).all()
    assert stats.holm([0.9, 0.8]).max() <= 1


def test_t_interval_is_that_of_scipy():
    from scipy.stats import ttest_1samp

    values = np.random.default_rng(1).normal(0.3, 1, 6)
    found, want = stats.t_interval(values), ttest_1samp(values, 0)
    assert found == pytest.approx((values.mean(), *want.confidence_interval(), want.pvalue))
    assert stats.t_interval(np.array([0.2])) == (0.2, 0.2, 0.2, 1.0)


def agreement() -> pd.DataFrame:
    """Draws whose agreement follows the error, a statistic that follows it loosely, another that does not."""
    rng, rows = np.random.default_rng(0), []
    for mu in (5.0, 20.0):
        error = np.exp(rng.normal(0, 0.5, IMAGES)) / mu
        for prior in ("unconditional", "wrong_class"):
            values = {
                ("achieved_mse", 16): error,
                ("achieved_mse_of_mean", 16): error / 2,
                ("estimated_mse", 2): rng.random(IMAGES),
                ("estimated_mse", 16): error * np.exp(rng.normal(0, 0.05, IMAGES)),
                ("baseline_contrast", 1): error * np.exp(rng.normal(0, 0.6, IMAGES)),
                ("baseline_brightness", 1): rng.random(IMAGES),
            }
            for (metric, draws), value in values.items():
                rows.append(pd.DataFrame({"image": range(IMAGES), "mu": mu, "prior": prior, "draws": draws,
                                          "metric": metric, "value": value}))  # fmt: skip
    return pd.concat(rows, ignore_index=True)


def test_agreement_is_held_against_the_best_statistic():
    (lead,) = of_draws.of(agreement())
    assert lead.verdict == "confirmed"
    assert 0.1 < lead.value < 0.6
    assert "best of 2" in lead.measured
    assert "{" not in lead.measured


def called(right: float, wrong_class: float, on_content: float) -> pd.DataFrame:
    """Pixels called real of which a share is wrong; none is called at the least mu."""
    rng, rows = np.random.default_rng(0), []
    for mu in (2.0, 5.0, 20.0):
        for prior, rate in (("unconditional", right), ("wrong_class", wrong_class)):
            share = rng.uniform(0.2, 0.4, IMAGES) * (mu > 2)
            values = {
                "wrong": rng.normal(rate, 0.005, IMAGES),
                "content_called": share,
                "content_wrong": share * rng.normal(on_content, 0.01, IMAGES),
            }
            common = {"image": range(IMAGES), "mu": mu, "prior": prior, "among": "all"}
            rows += [pd.DataFrame({**common, "metric": metric, "value": value}) for metric, value in values.items()]
    return pd.concat(rows, ignore_index=True)


def test_rates_of_wrong_calls_are_held_against_the_guarantee():
    claims = {c.id: c for c in confident.of(called(0.02, 0.1, 0.3))}
    assert {c.verdict for c in claims.values()} == {"confirmed"}
    content = claims["conformal_content"]
    assert content.value == pytest.approx(0.3, abs=0.01)
    assert [row["mu"] for row in content.by_mu] == [5.0, 20.0]
    worse = confident.of(called(0.08, 0.03, 0.01))
    assert {c.verdict for c in worse} == {"not confirmed"}
