"""Coverage by simulation of every interval the product prints, and the error rates of the rules drawn from them."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import binomtest, rankdata

from vpaudit.base import stats
from vpaudit.base.errors import VpauditError
from vpaudit.measure.meter import Meter
from vpaudit.report.results import projected
from vpaudit.study.config import Config

TRIALS = 600
LEAST = 0.93 - 2 * np.sqrt(0.93 * 0.07 / TRIALS)  # of 600 simulations, 0.909 where coverage is 0.93


def coverage(interval, draw, truth, trials=TRIALS):
    rng = np.random.default_rng(0)
    hits = 0
    for trial in range(trials):
        low, high = interval(draw(rng), trial)
        hits += low <= truth <= high
    return hits / trials


SKEWED = {
    "exponential": (lambda rng, n: rng.exponential(size=n), 1.0),
    "log-normal": (lambda rng, n: np.exp(0.7 * rng.standard_normal(n)), np.exp(0.245)),
}


@pytest.mark.parametrize("count", [24, 128])
@pytest.mark.parametrize("law", SKEWED)
def test_interval_of_a_skewed_mean(law, count):
    draw, truth = SKEWED[law]
    found = coverage(
        lambda v, seed: stats.bootstrap(v, seed=seed, resamples=400)[1:], lambda rng: draw(rng, count), truth
    )
    assert found >= LEAST


@pytest.mark.parametrize("count", [3, 6])
def test_interval_of_a_mean_of_a_few(count):
    found = coverage(lambda v, seed: stats.bootstrap(v)[1:], lambda rng: rng.standard_normal(count), 0.0)
    assert found >= LEAST


def share_of_hardness(rng, count):
    hardness = rng.exponential(size=count) + 0.2
    return hardness * rng.uniform(0.2, 0.6, count), hardness


def wrong_of_called(rng, count):
    """In many images nothing is called, in few most of what is called is wrong."""
    called = rng.exponential(size=count) * (rng.random(count) < 0.6)
    return called * rng.beta(0.6, 2.4, count), called


def error_of_binned_pixels(rng, count):
    pixels = rng.poisson(40 * rng.exponential(size=count))
    return 0.2 * rng.exponential(size=count) * pixels, pixels


@pytest.mark.parametrize("count", [24, 128])
@pytest.mark.parametrize(
    ("draw", "truth"), [(share_of_hardness, 0.4), (wrong_of_called, 0.2), (error_of_binned_pixels, 0.2)]
)
def test_interval_of_a_ratio_of_means(draw, truth, count):
    """The statistic of most tables: paired, skewed."""
    found = coverage(lambda v, seed: stats.ratio(*v, seed, resamples=400)[1:], lambda rng: draw(rng, count), truth)
    assert found >= LEAST


@pytest.mark.parametrize("count", [24, 128])
def test_interval_of_the_lead_of_one_rank_correlation_over_another(count):
    strong, weak = 0.9, 0.5

    def draw(rng):
        error, noise = rng.standard_normal(count), rng.standard_normal((2, count))
        return np.stack([error, *(r * error + np.sqrt(1 - r**2) * e for r, e in zip((strong, weak), noise))], axis=1)

    def lead(rows):
        rho = np.corrcoef(rankdata(rows, axis=0).T)[0]
        return rho[1] - abs(rho[2])

    truth = 6 / np.pi * (np.arcsin(strong / 2) - np.arcsin(weak / 2))
    found = coverage(lambda v, seed: stats.bootstrap(v, lead, seed, 150)[1:], draw, truth, 80)
    assert found >= 0.93 - 2 * np.sqrt(0.93 * 0.07 / 80)


def test_interval_of_an_array_is_that_of_each_element():
    values = np.random.default_rng(0).exponential(size=(40, 2, 3))

    value, low, high = stats.ratio(values[:, 0], values[:, 1])
    assert value.shape == low.shape == high.shape == (3,)
    for k in range(3):
        assert np.allclose(stats.ratio(*values[..., k].T), (value[k], low[k], high[k]))
    mean = stats.bootstrap(values)
    assert mean[0].shape == (2, 3)
    assert (mean[1] < mean[0]).all()
    assert (mean[0] < mean[2]).all()


def test_values_all_alike_have_no_width_and_one_value_has_none():
    assert stats.bootstrap(np.full(20, 3.0)) == (3.0, 3.0, 3.0)
    assert stats.bootstrap(np.array([2.0])) == (2.0, 2.0, 2.0)
    assert all(np.isfinite(stats.bootstrap(np.eye(12)[0])))


@pytest.mark.parametrize("count", [24, 128])
@pytest.mark.parametrize("rho", [0.6, 0.95])
def test_interval_of_a_rank_correlation(count, rho):

    def draw(rng):
        a = rng.standard_normal(count)
        return np.stack([a, rho * a + np.sqrt(1 - rho**2) * rng.standard_normal(count)])

    truth = 6 / np.pi * np.arcsin(rho / 2)
    found = coverage(lambda v, seed: stats.rank_correlation(*v, seed, 400)[1:], draw, truth, 400)
    assert found >= LEAST


def pairs(rng, count, partners=4, likeness=0.0):
    """Distances a_i + a_j + e_ij of images to the partners that a study draws; alike images are nearer (mean 2)."""
    hardness, place = rng.exponential(size=count), rng.standard_normal(count)
    orders = np.empty((partners, count), dtype=int)
    for k in range(partners):
        order = rng.permutation(count)
        orders[k, order] = np.roll(order, 1)
    noise = 0.3 * rng.standard_normal(orders.shape)
    return hardness + hardness[orders] - likeness * place * place[orders] + noise, orders


@pytest.mark.parametrize(("partners", "likeness"), [(1, 0.0), (2, 1.0), (4, 0.0), (4, 1.0)])
@pytest.mark.parametrize("count", [24, 128])
def test_interval_of_a_mean_over_pairs(count, partners, likeness):
    """Resampling one side covers 80 %; the projection covers what is said."""

    def draw(rng):
        return pairs(rng, count, partners, likeness)

    found = coverage(lambda v, seed: stats.bootstrap(stats.projected(*v), seed=seed, resamples=400)[1:], draw, 2.0)
    assert found >= LEAST
    naive = coverage(lambda v, seed: stats.bootstrap(v[0].mean(0), seed=seed, resamples=400)[1:], draw, 2.0)
    assert naive < 0.9


def test_projection_keeps_the_mean_and_finds_what_each_side_adds():
    rng = np.random.default_rng(1)
    values, orders = pairs(rng, 17)
    assert stats.projected(values, orders).mean() == pytest.approx(values.mean(), rel=1e-12)
    first, second = rng.standard_normal((2, 40))
    _, orders = pairs(rng, 40)
    assert stats.projected(first + second[orders], orders) == pytest.approx(first + second, abs=0.01)
    both = np.stack([first + second[orders], first + 0 * orders], axis=-1)
    assert stats.projected(both, orders) == pytest.approx(np.stack([first + second, first + 0], axis=1), abs=0.01)


def test_the_order_of_a_table_of_pairs_does_not_matter():
    values, orders = pairs(np.random.default_rng(2), 12)
    ids = 5 + 2 * np.arange(12)
    table = pd.concat([
        pd.DataFrame({"image": ids, "other": ids[order], "mu": mu, "value": mu * row})
        for row, order in zip(values, orders) for mu in (1.0, 2.0)
    ])  # fmt: skip
    found, again = projected(table), projected(table.sample(frac=1, random_state=0))
    assert found[1.0].to_numpy() == pytest.approx(stats.projected(values, orders))
    assert np.allclose(found, again)
    assert np.allclose(found[2.0], 2 * found[1.0])
    assert list(found.index) == list(ids)


def test_intervals_of_others_and_of_the_share_as_a_study_measures_them():
    """From images through Meter and its table: outputs x / 2 + noise of images of unlike brightness, MSE known."""
    config, count = Config(evaluate={"metrics": ["mse"]}), 24
    ids = torch.arange(0, 3 * count, 3)
    own, other = 0.25 * 1.5 + 0.04, 1.25 * 1.5 + 0.04  # E of a pixel's squared difference; E of its square is 1.5

    def draw(rng):
        x = rng.standard_normal((count, 1, 4, 4)) + np.sqrt(0.5) * rng.standard_normal((count, 1, 1, 1))
        made = x / 2 + 0.2 * rng.standard_normal(x.shape)
        x, made = torch.from_numpy(x), torch.from_numpy(made)
        meter = Meter(config, x, ids)
        return meter.against_targets(made, None)["mse"].numpy(), projected(meter.against_others(made, None, mu=1.0))

    found = coverage(
        lambda v, seed: stats.bootstrap(v[1][1.0].to_numpy(), seed=seed, resamples=400)[1:], draw, other, 250
    )
    assert found >= LEAST
    share = coverage(lambda v, seed: stats.share_recovered(v[0], v[1][1.0].to_numpy())[1:], draw, 1 - own / other, 250)
    assert share >= LEAST


@pytest.mark.parametrize(("count", "successes"), [(24, 0.02), (24, 0.5), (128, 0.97)])
def test_clopper_pearson_covers_each_side(count, successes):
    drawn = np.random.default_rng(0).binomial(count, successes, size=4000)
    low, high = stats.clopper_pearson(drawn, count)
    assert (low > successes).mean() <= 0.025 + 0.008
    assert (high < successes).mean() <= 0.025 + 0.008
    want = binomtest(int(drawn[0]), count).proportion_ci(0.95)
    assert (low[0], high[0]) == pytest.approx((want.low, want.high), abs=1e-9)


def test_clopper_pearson_holds_for_trials_of_unlike_probability():
    chances = np.random.default_rng(1).beta(0.5, 0.5, size=40)
    drawn = (np.random.default_rng(2).random((4000, 40)) < chances).sum(axis=1)
    low, high = stats.clopper_pearson(drawn, 40)
    assert ((low > chances.mean()) | (high < chances.mean())).mean() <= 0.05


def test_clopper_pearson_refuses_more_successes_than_trials():
    with pytest.raises(VpauditError, match="successes=5 of trials=4"):
        stats.clopper_pearson(5, 4)


@pytest.mark.parametrize("count", [24, 200])
def test_limit_of_a_mean_over_pairs(count):
    """k = exp(-(z - z')^2 / 2) of normal images: E k = 1 / sqrt 3."""
    above = 0
    for trial in range(300):
        z = np.random.default_rng(trial).standard_normal(count)
        above += stats.pair_mean_limit(np.exp(-((z[:, None] - z) ** 2) / 2)) >= 1 / np.sqrt(3)
    assert above / 300 >= 0.95
    assert stats.pair_mean_limit(np.ones((10, 10))) == 1
    assert stats.pair_mean_limit(np.zeros((10, 10))) == pytest.approx(1 - 0.05 ** (1 / 5), rel=1e-6)  # no pair of 5


def attacked(rng, count, share):
    """Distances of an attack that recovers `share` of the distance between images, on images of unlike hardness."""
    hardness = rng.exponential(size=count) + 0.3
    own = (1 - share) * hardness * rng.uniform(0.7, 1.3, count)
    return own, hardness


@pytest.mark.parametrize("count", [24, 128])
@pytest.mark.parametrize("share", [0.02, 0.3])
def test_interval_of_the_share_recovered(count, share):
    found = coverage(lambda v, seed: stats.share_recovered(*v)[1:], lambda rng: attacked(rng, count, share), share)
    assert found >= LEAST


def test_so_few_images_that_others_could_be_0_exclude_nothing():
    value, low, high = stats.share_recovered(np.array([0.1, 0.2, 0.1]), np.array([0.1, 3.0, 0.1]))
    assert value == pytest.approx(1 - 0.4 / 3.2)
    assert (low, high) == (-np.inf, 1)


MU = np.geomspace(0.1, 10, 9)
SHARE = 0.02 * MU**1.2  # recovered in truth: 5 % at mu = 2.15


def end(count, margin, rng):
    upper = [stats.share_recovered(*attacked(rng, count, share), level=0.9)[2] for share in SHARE]
    return stats.end_of_reconstruction(MU, upper, margin)


@pytest.mark.parametrize("margin", [0.01, 0.05, 0.1])
def test_few_images_never_recommend_less_noise(margin):
    """The end found is above the true one in at most 5 % of audits, so 24 images end no later than 2,000 do."""
    rng = np.random.default_rng(0)
    truth = (margin / 0.02) ** (1 / 1.2)
    few, many = (np.nan_to_num([end(n, margin, rng) for _ in range(k)]) for n, k in ((24, 400), (2000, 40)))
    assert np.mean(few > 1.02 * truth) <= 0.06  # 2 % is what the interpolation may add
    assert np.median(few) < np.median(many) <= 1.02 * truth
    assert margin < 0.05 or np.median(many) > 0.8 * truth


def test_end_of_reconstruction_at_the_grid_s_ends():
    assert np.isnan(stats.end_of_reconstruction([1, 2], [0.2, 0.3], 0.05))
    assert stats.end_of_reconstruction([1, 2], [0.01, 0.02], 0.05) == 2
    assert stats.end_of_reconstruction([1, 4], [0.0, 0.1], 0.05) == pytest.approx(2)
    assert stats.end_of_reconstruction([1, 2, 4], [0.0, 0.1, 0.0], 0.05) < 2  # stops at the first that reaches it


def test_false_contradictions_are_rare_over_the_whole_course():
    """All nine intervals touch the limit in truth: one lies beyond it in 20 % of courses, a contradiction in 2.5 %."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((4000, 9))
    found = np.array([stats.contradicted(v, v - 1.96, v + 1.96, 0.0, above=True).any() for v in values])
    naive = (values < -1.96).any(axis=1)
    assert 0.17 < naive.mean() < 0.23
    assert found.mean() <= 0.035
    assert stats.contradicted([-5.0, 1.0], [-6.0, 0.0], [-4.0, 2.0], 0.0, True).tolist() == [True, False]
    assert stats.contradicted([5.0, -1.0], [4.0, -2.0], [6.0, 0.0], 0.0, False).tolist() == [True, False]


def test_share_of_the_range_does_not_depend_on_the_grid():
    coarse, fine = np.geomspace(0.1, 100, 7), np.geomspace(0.1, 100, 61)
    dense = np.sort(np.concatenate([coarse, np.geomspace(50, 100, 50)[:-1]]))
    shares = [stats.share_of_range(mu, mu > 1) for mu in (coarse, fine, dense)]
    assert np.ptp(shares) < 0.1
    assert np.ptp([np.mean(mu > 1) for mu in (coarse, fine, dense)]) > 0.15
    assert stats.share_of_range([1.0, 2.0, 4.0], [True] * 3) == 1
