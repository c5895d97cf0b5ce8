"""The release: clipping, noise, and Opacus doing the same."""

import numpy as np
import pytest
import torch
from scipy import stats as sps

from vpaudit.base.errors import VpauditError
from vpaudit.base.pixels import per_image
from vpaudit.privacy.mechanism import Mechanism, Observation, release_analytic, release_opacus


def images(count: int, scale: float = 0.8, seed: int = 0) -> torch.Tensor:
    return (torch.rand((count, 1, 6, 6), generator=torch.Generator().manual_seed(seed)) * 2 - 1) * scale


def release(function, x, mechanism, seed=0, **kwargs):
    ids = torch.arange(len(x))
    return function(x, ids, torch.zeros_like(ids), mechanism, "toy", seed, **kwargs)


def test_clip_factor_by_hand():
    x = torch.zeros((3, 1, 2, 2))
    x[0, 0, 0] = torch.tensor([0.3, 0.4])  # norm 0.5
    x[1, 0, 0] = torch.tensor([0.6, 0.8])  # norm 1
    x[2] = 1.0  # norm 2
    assert Mechanism(5.0, 1.0).clip_factor(x).tolist() == pytest.approx([1.0, 1.0, 0.5])


def test_sigma_is_c_over_mu():
    mechanism = Mechanism(mu=5.0, max_grad_norm=2.0)
    assert mechanism.sigma == pytest.approx(0.4)
    assert mechanism.noise_multiplier == pytest.approx(0.2)


@pytest.mark.parametrize("function", [release_analytic, release_opacus])
def test_released_noise_is_normal_with_std_sigma(function):
    """Kolmogorov-Smirnov over 300 x 36 residuals, at both a clipped and an unclipped norm."""
    x = images(300)
    for c in (1.0, 50.0):
        mechanism = Mechanism(mu=3.0, max_grad_norm=c)
        seen = release(function, x, mechanism)
        residual = ((seen.y.double() - per_image(seen.lam) * x) / mechanism.sigma).flatten().numpy()
        assert sps.kstest(residual, "norm").pvalue > 1e-3
        assert residual.std() == pytest.approx(1.0, abs=0.03)
        assert residual.mean() == pytest.approx(0.0, abs=0.04)
        norms = x.flatten(1).norm(dim=1)
        assert torch.allclose(seen.lam.float(), (c / norms).clamp_max(1), rtol=1e-5)


@pytest.mark.parametrize("rows", [1, 4])
def test_opacus_and_the_formula_agree_in_distribution(rows):
    """Same image released 400 times by each: mean and variance of every pixel, and the two-sample KS test."""
    x = images(1).expand(400, -1, -1, -1).contiguous()
    mechanism = Mechanism(mu=4.0, max_grad_norm=1.0)
    ours, theirs = release(release_analytic, x, mechanism), release(release_opacus, x, mechanism, rows=rows)
    assert torch.allclose(ours.lam, theirs.lam, rtol=1e-5)
    a, b = ours.y.flatten(1).numpy(), theirs.y.flatten(1).numpy()
    assert np.abs(a.mean(0) - b.mean(0)).max() < 5 * mechanism.sigma * np.sqrt(2 / 400)
    assert np.var(a) == pytest.approx(np.var(b), rel=0.05)
    assert sps.ks_2samp((a - a.mean(0)).ravel(), (b - b.mean(0)).ravel()).pvalue > 1e-3


def test_more_rows_do_not_change_what_a_clipped_image_gives():
    """c (x, ..., x) summed over sqrt(M): signal C x / |x| for every M."""
    x = images(1).expand(500, -1, -1, -1).contiguous()
    mechanism = Mechanism(mu=50.0)
    for rows in (1, 9):
        seen = release(release_opacus, x, mechanism, rows=rows)
        want = x[0] / x[0].norm()
        assert torch.allclose(seen.y.mean(0), want, atol=6 * mechanism.sigma / 500**0.5)


def test_s_is_norm_over_mu_when_clipped():
    x = images(5)
    seen = release(release_analytic, x, Mechanism(mu=7.0))
    assert torch.allclose(seen.s.float(), x.flatten(1).norm(dim=1) / 7.0, rtol=1e-5)
    assert torch.allclose(seen.rescaled(), seen.y / per_image(seen.lam.float()), rtol=1e-4)


def test_release_of_an_image_does_not_depend_on_its_neighbours():
    x, mechanism = images(6), Mechanism(mu=2.0)
    for function in (release_analytic, release_opacus):
        ids, labels = torch.arange(6), torch.zeros(6, dtype=torch.int64)
        whole = function(x, ids, labels, mechanism, "toy", 3)
        part = function(x[4:5], ids[4:5], labels[4:5], mechanism, "toy", 3)
        assert torch.equal(whole.y[4:5], part.y)


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [("mu", {"mu": 0.0}), ("mu", {"mu": -1.0}), ("max_grad_norm", {"mu": 1.0, "max_grad_norm": 0.0})],
)
def test_bad_mechanism_is_named(name, kwargs):
    with pytest.raises(VpauditError, match=name):
        Mechanism(**kwargs)


def test_bad_observation_is_refused():
    ids = torch.zeros(1, dtype=torch.int64)
    good = {"sigma": 1.0, "ids": ids, "labels": ids, "dataset": "toy", "mu": 1.0}
    with pytest.raises(VpauditError, match="finite"):
        Observation(torch.full((1, 1, 2, 2), float("nan")), torch.ones(1), **good)
    with pytest.raises(VpauditError, match="lambda"):
        Observation(torch.zeros((1, 1, 2, 2)), torch.zeros(1), **good)
