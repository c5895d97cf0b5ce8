"""The table of prior-aware bounds from measurements whose truth is known: Gaussian images and their own prior."""

import numpy as np
import pandas as pd
import pytest
from closed_forms import gaussian_mse

from vpaudit.privacy import floor, prior_aware

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
        rows = pd.DataFrame({"value": found.values, "standard_error": found.standard_errors})
        scores.append(rows.assign(smoothing=a))
    z = rng.standard_normal((500, PIXELS)) * np.sqrt(VARIANCES)
    centres = np.concatenate([np.zeros((1, PIXELS)), z[:5]])
    distances = np.sort(np.square(z[None, 5:] - centres[:, None]).mean(2), axis=1)
    ball = [
        pd.DataFrame({"centre": k, "rank": np.arange(495), "value": row, "metric": "mse", "count": 495})
        for k, row in enumerate(distances)
    ]
    norms = pd.Series(np.full(IMAGES + 10, np.sqrt(VARIANCES.sum())))
    parts = (pd.concat(p, ignore_index=True) for p in (curves, scores, ball))
    return prior_aware.table(*parts, norms, VARIANCES, MUS, 1e-6)


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
        best = values(table, "mse_floor", "van Trees, best smoothing")[mu]
        shannon = values(table, "mse_floor", "Shannon")[mu]
        assert 0.97 * mmse < best < 1.02 * mmse
        assert shannon < 1.03 * best
        assert values(table, "distance_floor", "prior", "mse")[mu] < mmse


def test_intervals_hold_their_values(table):
    assert (table["low"] <= table["value"] + 1e-12).all()
    assert (table["value"] <= table["high"] + 1e-12).all()


def test_each_image_s_information_is_up_to_its_own_noise():
    """Two images of unlike norm and unlike error: crossing them would give another mean."""
    grid, errors = np.geomspace(0.1, 10, 200), np.stack([np.full(200, 1.0), np.full(200, 4.0)])
    found = prior_aware._integrals(grid, errors, np.array([1.0, 2.0]), None) * np.log(2)
    assert found == pytest.approx([0.5, 0.5], rel=1e-3)  # error / (2 s^2)
