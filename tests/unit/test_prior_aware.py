"""The table of prior-aware bounds from measurements whose truth is known: Gaussian images and their own prior."""

import numpy as np
import pandas as pd
import pytest
from closed_forms import gaussian_mse

from vpaudit.experiments.theory import run as theory
from vpaudit.privacy import floor

PIXELS, IMAGES = 30, 40
VARIANCES = 1.5 / np.arange(1, PIXELS + 1) ** 1.1
MUS = (1.0, 5.0, 20.0)


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    grid = np.geomspace(0.03, 150, 60)
    wrong = VARIANCES[::-1].copy()
    curves = []
    for prior, q in (("unconditional", VARIANCES), ("wrong_class", wrong), ("gaussian", VARIANCES)):
        for s in grid:
            exact = gaussian_mse(q, s, VARIANCES)
            values = exact * rng.uniform(0.9, 1.1, IMAGES)
            rows = pd.DataFrame({"image": range(IMAGES), "value": values})
            curves.append(rows.assign(prior=prior, targets="real", s=s))
    scores = []
    for a in (0.1, 0.5):
        halves = (-(rng.standard_normal((20_000, PIXELS)) / np.sqrt(VARIANCES + a**2)) for _ in range(2))
        found = floor.fisher_information(*halves, a)
        perfect = VARIANCES * a**2 / (VARIANCES + a**2)  # squared errors, along another basis
        errors = (perfect @ found.basis**2, np.zeros(PIXELS))
        for name, pair in (("fisher_information", (found.values, found.standard_errors)), ("squared_error", errors)):
            rows = pd.DataFrame(dict(zip(("value", "standard_error"), pair)))
            scores.append(rows.assign(metric=name, smoothing=a))
    z = rng.standard_normal((500, PIXELS)) * np.sqrt(VARIANCES)
    centres = np.concatenate([np.zeros((1, PIXELS)), z[:5]])
    distances = np.sort(np.square(z[None, 5:] - centres[:, None]).mean(2), axis=1)
    ball = [
        pd.DataFrame({"centre": k, "rank": np.arange(495), "value": row, "metric": "mse", "count": 495})
        for k, row in enumerate(distances)
    ]
    norms = pd.Series(np.full(IMAGES + 10, np.sqrt(VARIANCES.sum())))
    parts = (pd.concat(p, ignore_index=True) for p in (curves, scores, ball))
    return theory.table(*parts, norms, VARIANCES, MUS, 1e-6)


def values(table, quantity, prior, metric=None):
    rows = table[(table["quantity"] == quantity) & (table["prior"] == prior)]
    return rows.set_index("mu")["value"] if metric is None else rows[rows["metric"] == metric].set_index("mu")["value"]


def test_information_is_the_gaussian_bound_in_bits(table):
    """For Gaussian data the prior's own curve, the Gaussian bound and the formula agree; capacity lies above."""
    got = values(table, "information", "unconditional")
    bound = values(table, "information", "bound for the covariance")
    assert np.allclose(got, bound, rtol=0.03)
    s = np.sqrt(VARIANCES.sum()) / 5.0
    assert bound[5.0] == pytest.approx(0.5 * np.log2(1 + VARIANCES / s**2).sum(), rel=1e-9)
    assert (values(table, "information", "channel capacity") >= bound - 1e-9).all()


def test_price_of_a_wrong_prior_is_paid_and_grows(table):
    price = values(table, "kl", "wrong_class")
    assert (price > 0).all()
    assert price.is_monotonic_increasing
    s, wrong = np.sqrt(VARIANCES.sum()) / 5.0, VARIANCES[::-1]
    ratio = (VARIANCES + s**2) / (wrong + s**2)
    assert price[5.0] == pytest.approx(0.5 * np.sum(ratio - 1 - np.log(ratio)) / np.log(2), rel=0.1)
    assert np.allclose(values(table, "kl", "gaussian"), 0, atol=0.1 * price.max())


def test_floors_lie_below_the_mmse_and_van_trees_close_to_it(table):
    for mu in MUS:
        s = np.sqrt(VARIANCES.sum()) / mu
        mmse = float(gaussian_mse(VARIANCES, s)) / PIXELS
        best = values(table, "mse_floor", "van Trees")[mu]
        assert 0.97 * mmse < best < 1.02 * mmse
        given = [values(table, "mse_floor", f"network within {part} of the mmse")[mu] for part in ("0%", "5%", "20%")]
        assert 1.005 * mmse > given[0] > given[1] > given[2]
        assert values(table, "distance_floor", "prior", "mse")[mu] < mmse


def test_break_even_is_the_excess_at_which_the_floor_meets_the_level():
    errors = VARIANCES * 0.5**2 / (VARIANCES + 0.5**2)
    scores = pd.DataFrame({"value": errors, "standard_error": 0.0, "metric": "squared_error", "smoothing": 0.5})
    norms = np.full(3, np.sqrt(VARIANCES.sum()))
    levels = {mu: 0.8 * float(gaussian_mse(VARIANCES, norms[0] / mu)) / PIXELS for mu in (1.0, 2.0)}
    found = theory.break_even(scores, norms, levels | {3.0: 0.0}, 1e-6)
    assert found["mu"].tolist() == [1.0, 2.0]  # a level of 0 is no level
    for mu, excess in found.set_index("mu")["value"].items():
        at = floor.conditional(errors, np.zeros(PIXELS), 0.5, norms[:1] / mu, excess)[0] / PIXELS
        assert at == pytest.approx(levels[mu], rel=1e-6)


def test_intervals_hold_their_values(table):
    assert (table["low"] <= table["value"] + 1e-12).all()
    assert (table["value"] <= table["high"] + 1e-12).all()


def test_each_image_s_information_is_up_to_its_own_noise():
    """Two images of unlike norm and unlike error: crossing them would give another mean."""
    grid, errors = np.geomspace(0.1, 10, 200), np.stack([np.full(200, 1.0), np.full(200, 4.0)])
    found = theory._integrals(grid, errors, np.array([1.0, 2.0]), None) * np.log(2)
    assert found == pytest.approx([0.5, 0.5], rel=1e-3)  # error / (2 s^2)
