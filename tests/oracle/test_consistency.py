"""Estimates without a target on draws whose law is known, and guarantees checked by simulation."""

import numpy as np
import pytest
import torch

from vpaudit.base.errors import VpauditError
from vpaudit.base.randomness import generator
from vpaudit.measure import agreement, believed, metrics

SHAPE = (200, 1, 12, 12)


def posterior(scale=0.4, draws=16, key="draws"):
    rng = generator(key)
    mean = torch.randn(SHAPE, generator=rng)
    target = mean + scale * torch.randn(SHAPE, generator=rng)
    return mean + scale * torch.randn((draws, *SHAPE), generator=rng), target


def test_expected_mse_is_the_mean_pairwise_mse_and_the_error():
    draws, target = posterior()
    pairs = agreement.agreement(draws, lambda j, k: {"mse": metrics.mse(draws[j], draws[k])})["mse"]
    estimated = agreement.expected_mse(draws)
    assert torch.allclose(estimated.float(), pairs, rtol=1e-4)
    achieved = torch.stack([metrics.mse(d, target) for d in draws]).mean(0)
    assert float(estimated.mean()) == pytest.approx(2 * 0.4**2, rel=0.01)
    assert float(achieved.mean()) == pytest.approx(2 * 0.4**2, rel=0.01)
    of_mean = metrics.mse(draws.mean(0), target).mean()
    assert float(of_mean) == pytest.approx(0.4**2 * (1 + 1 / 16), rel=0.02)


def test_bands_share_out_the_error():
    draws, _ = posterior()
    bands = agreement.expected_band_mse(draws)
    assert torch.allclose(bands.sum(1), agreement.expected_mse(draws), rtol=1e-6)
    wave = torch.cos(torch.arange(12) * 2 * torch.pi * 6 / 12).expand(1, 1, 12, 12)
    energy = agreement.band_energy(wave)[0]
    assert int(energy.argmax()) == 2  # half a cycle a pixel along one axis is .707 of the corner
    assert float(energy.sum()) == pytest.approx(float(wave.square().mean()))
    flat = agreement.band_energy(torch.ones(1, 1, 12, 12))[0]
    assert flat.tolist() == pytest.approx([1, 0, 0, 0], abs=1e-12)


def test_conformal_factor_holds_at_its_level():
    """Achieved = estimated times a heavy-tailed factor; 400 calibrations of 39 images each, one new image each."""
    rng = np.random.default_rng(0)
    held = []
    for _ in range(400):
        estimated = rng.uniform(0.1, 1, 40)
        achieved = estimated * rng.lognormal(0.3, 0.6, 40)
        factor = agreement.conformal_factor(estimated[:39], achieved[:39], 0.9)
        held.append(achieved[39] <= factor * estimated[39])
    assert np.mean(held) == pytest.approx(0.9, abs=0.045)
    with pytest.raises(VpauditError, match="too few"):
        agreement.conformal_factor(np.ones(8), np.ones(8), 0.9)
    assert agreement.conformal_factor(np.ones(9), np.arange(1, 10), 0.9) == 9


def doubtful(rng, count):
    """Spread, error and foreground of images of 80 pixels; half are background, certain and right."""
    spread = np.concatenate([np.full((count, 40), 0.005), rng.uniform(0.01, 0.5, (count, 40))], axis=1)
    wrong = np.where(rng.random((count, 1)) < 0.1, 4.0, 1.0)
    error = np.abs(rng.standard_normal((count, 80))) * spread * wrong
    return spread, error, np.arange(80) >= np.full((count, 1), 40)


@pytest.mark.parametrize("foreground", [False, True])
def test_few_of_the_pixels_called_real_are_wrong(foreground):
    """The false-discovery proportion on fresh images, over 200 calibrations, is at most the rate on average."""
    rng = np.random.default_rng(0)

    def proportion(limit, spread, error, mask):
        called = (spread <= limit) & (mask if foreground else True)
        return ((called & (error > 0.2)).sum(1) / np.maximum(called.sum(1), 1)).mean()

    fresh, rate = doubtful(rng, 5000), 0.05
    limits, found = [], []
    for _ in range(200):
        spread, error, mask = doubtful(rng, 63)
        worst = believed.worst_shares(spread, error, mask if foreground else None)
        limits.append(believed.trusted_spread(worst, rate))
        found.append(proportion(limits[-1], *fresh))
    assert np.mean(found) <= rate + 3 * np.std(found) / 200**0.5
    assert np.median(limits) > 0.02


def test_a_first_call_that_is_wrong_is_not_made_good_by_later_ones():
    """The proportion does not fall with the spread; as many wrong calls as right ones at first, 1 of 40 at last."""
    spread = np.tile(np.r_[0.01, np.full(39, 0.5)], (100, 1))
    error = np.tile(np.r_[1.0, np.zeros(39)], (100, 1))
    right = believed.worst_shares(spread, np.zeros_like(error))
    assert believed.trusted_spread(believed.worst_shares(spread, error)) < 0.01
    assert believed.trusted_spread(right) == 1.0
    assert believed.trusted_spread(right[:10]) == 0.0  # ten images guarantee nothing


def test_each_image_is_judged_by_the_limit_of_the_others():
    spread, error, _ = doubtful(np.random.default_rng(1), 30)
    worst = believed.worst_shares(spread, error)
    others = [believed.trusted_spread(np.delete(worst, k, axis=0)) for k in range(30)]
    assert believed.trusted_by_others(worst).tolist() == others


def test_one_draw_tells_nothing():
    for function in (agreement.expected_mse, agreement.expected_band_mse):
        with pytest.raises(ValueError, match="at least 2"):
            function(torch.zeros(1, 2, 1, 4, 4))
