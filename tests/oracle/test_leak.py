"""What a clipped gradient leaks, against autograd, dense matrices and the layer whose leak is known."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from vpaudit.base.errors import VpauditError
from vpaudit.opacus import leak
from vpaudit.opacus.clipped import ClippedGradient
from vpaudit.priors.gaussian import GaussianPrior
from vpaudit.priors.spectral import SpectralPrior
from vpaudit.privacy.mechanism import ImprintLayer, Mechanism

SHAPE = (1, 4, 4)


@pytest.fixture
def x():
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(3), dtype=torch.float64) / 2


@pytest.fixture(params=[GaussianPrior, SpectralPrior])
def prior(request):
    rng = torch.Generator().manual_seed(4)
    images = torch.randn(200, 1, 4, 4, generator=rng).cumsum(dim=-1).cumsum(dim=-2) / 4
    return request.param.fit(images)


def network() -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.GroupNorm(1, 3), nn.Tanh(), nn.Flatten(), nn.Linear(12, 6), nn.GELU(), nn.Linear(6, 3)
    ).double()


def total(logits, labels):
    return logits.sum()


def dense(function, x) -> torch.Tensor:
    """(P, N) by reverse-mode autograd, the step of the chain rule through clipping included."""
    return torch.autograd.functional.jacobian(function, x).flatten(1)


LIMITS = {"clipped": 0.05, "not clipped": 1e3, "per layer": [0.01, 1e3, 0.02, 0.1, 0.01, 0.3, 0.02, 0.05]}


@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)
def test_the_derivative_is_that_of_what_opacus_clips(x, limits):
    gradient = ClippedGradient(network(), 1, limits)
    expected = dense(gradient, x)
    at = gradient.at(x)
    assert torch.allclose(at.value, gradient(x))
    eye = torch.eye(16, dtype=torch.float64).view(16, *SHAPE)
    assert torch.allclose(at.push(eye).T, expected, atol=1e-10)
    u = torch.randn(5, len(expected), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.allclose(at.pull(u).flatten(1), u @ expected, atol=1e-10)


@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)
def test_told_lambda_the_derivative_is_that_of_a_fixed_factor(x, limits):
    gradient = ClippedGradient(network(), 1, limits, told=True)
    at = gradient.at(x)
    factor = torch.cat([torch.full((n,), float(c)) for n, c in zip(gradient.groups, at.clip)])
    eye = torch.eye(16, dtype=torch.float64).view(16, *SHAPE)
    assert torch.allclose(at.push(eye).T, factor[:, None] * dense(gradient.raw, x), atol=1e-8)
    untold = ClippedGradient(network(), 1, limits).at(x)
    more = (at.pull(at.push(eye)) - untold.pull(untold.push(eye))).flatten(1)
    assert torch.linalg.eigvalsh((more + more.T) / 2).min() > -1e-9  # to be told it helps, in every direction


def test_relu_pooling_and_attention_have_a_derivative(x):
    torch.manual_seed(0)

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.qkv, self.head = nn.LayerNorm(4), nn.Linear(4, 12), nn.Linear(4, 3)

        def forward(self, images):
            q, k, v = self.qkv(self.norm(images[:, 0])).chunk(3, dim=-1)
            mixed = nn.functional.scaled_dot_product_attention(q, k, v)
            return self.head(mixed.mean(dim=1))

    pooled = nn.Sequential(nn.Conv2d(1, 3, 2), nn.ReLU(), nn.MaxPool2d(2, 1), nn.Flatten(), nn.Linear(12, 3))
    for model in (pooled.double(), Attention().double()):
        gradient = ClippedGradient(model, 0, 0.1)
        eye = torch.eye(16, dtype=torch.float64).view(16, *SHAPE)
        assert torch.allclose(gradient.at(x).push(eye).T, dense(gradient, x), atol=1e-10)


@pytest.mark.parametrize(("rows", "scale"), itertools.product([1, 3], [1.0, 0.01]))
def test_a_planted_layer_leaks_the_mu_of_the_release(x, prior, rows, scale):
    """C / sigma of clipped images, lambda |x| / sigma of all: `Mechanism`'s own, with rows as in `release_opacus`."""
    mechanism = Mechanism(5.0, 0.7)
    gradient = ClippedGradient(ImprintLayer(16, rows).double(), 0, mechanism.max_grad_norm, total, told=True)
    found = leak.leaks(gradient, x * scale, prior, ("imprint",), probes=8)
    old = min(mechanism.mu, rows**0.5 * float((x * scale).norm()) / mechanism.sigma)
    got = found["all"].equivalent_mu(mechanism.sigma)
    assert got.value == pytest.approx(old, rel=0.01)
    assert got.low == pytest.approx(got.high, rel=0.01)  # signs in the eigenvectors of both: no Monte Carlo error
    assert found["linear"].share == pytest.approx(1.0)


def test_the_gain_is_that_of_dense_matrices(x, prior):
    gradient = ClippedGradient(network(), 2, 0.05, told=True)
    factor = prior.image(torch.eye(16, dtype=torch.float64) * prior.variances.flatten().double().sqrt()).flatten(1)
    covariance = factor.T @ factor
    jacobian = gradient.at(x).push(torch.eye(16, dtype=torch.float64).view(16, *SHAPE)).T
    found = leak.leaks(gradient, x, prior, ("dense",), probes=400)
    for sigma, (name, rows) in itertools.product((1e-3, 0.05, 1.0), (gradient.layers() | {"all": ...}).items()):
        product = jacobian[rows].T @ jacobian[rows] / sigma**2
        posterior = torch.linalg.inv(torch.linalg.inv(covariance) + product)
        expected = float((covariance - posterior).trace())
        each = found[name].gain.each(lambda a: a / (sigma**2 + a))  # noqa: B023
        assert each.mean() == pytest.approx(expected, abs=5 * each.std() / 20 + 1e-6 * expected)
    told = leak.bits(gradient, x, prior, ("bits",), 0.01, probes=400)
    product = jacobian.T @ jacobian / 0.01**2
    expected = float(torch.logdet(torch.eye(16) + covariance @ product)) / 2 / np.log(2)
    assert told.value == pytest.approx(expected, rel=0.03)
    fisher = leak.fisher_information(gradient, x, ("fisher",), 0.01, probes=400)
    assert fisher.value == pytest.approx(float(product.trace()), rel=0.1)


def test_layers_divide_the_clipped_gradient(x, prior):
    gradient = ClippedGradient(network(), 1, 0.05, told=True)
    found = leak.leaks(gradient, x, prior, ("layers",))
    assert list(found) == ["0", "1", "4", "6", "all"]
    assert sum(part.share for name, part in found.items() if name != "all") == pytest.approx(1.0)
    values = {name: part.equivalent_mu(0.01).value for name, part in found.items()}
    assert all(value <= values["all"] for value in values.values())


def test_what_is_not_known_of_the_batch_is_noise(x, prior):
    """The first block of the exact joint posterior of three images, linearised at each; no rest leaks more."""
    images = [x, x.flip(-1) / 2, x.mT + 0.1]
    gradients = [ClippedGradient(network(), k, 0.05, told=True) for k in range(3)]
    scaled = prior.image(torch.eye(16, dtype=torch.float64) * prior.variances.flatten().double().sqrt()).flatten(1)
    eye = torch.eye(16, dtype=torch.float64).view(16, *SHAPE)
    jacobians = torch.cat([g.at(image).push(eye) for g, image in zip(gradients, images)])
    product = jacobians @ jacobians.T / 0.05**2
    posterior = torch.linalg.inv(torch.linalg.inv(torch.block_diag(*[scaled.T @ scaled] * 3)) + product)
    expected = float((scaled.T @ scaled - posterior[:16, :16]).trace())
    rest = list(zip(gradients, images))[1:]
    unknown = leak.leaks(gradients[0], x, prior, ("rest",), probes=400, steps=48, rest=rest, layers={})["all"]
    each = unknown.gain.each(lambda a: a / (0.05**2 + a))
    assert each.mean() == pytest.approx(expected, abs=5 * each.std() / 20)
    known = leak.leaks(gradients[0], x, prior, ("rest",), probes=400, layers={})["all"]
    assert unknown.equivalent_mu(0.05).value < known.equivalent_mu(0.05).value


def test_departure_is_zero_of_a_linear_gradient_and_grows_with_the_uncertainty(x, prior):
    linear = ClippedGradient(ImprintLayer(16).double(), 0, 1e3, total)
    assert leak.departure(linear, x, prior, ("linear",), 1.0) < 1e-8
    far, near = (leak.departure(ClippedGradient(network(), 1, 0.05), x, prior, ("change",), mu) for mu in (0.1, 1e3))
    assert near < 0.05 < far


def test_equivalent_mu_inverts_the_plain_release():
    variances = np.array([3.0, 1.0, 0.1, 0.0])
    for mu in (1e-3, 0.5, 30.0):
        gain = (variances**2 / (variances + (2.0 / mu) ** 2)).sum()
        assert leak.equivalent_mu(gain, variances, 2.0) == pytest.approx(mu, rel=1e-6)
    assert leak.equivalent_mu(0.0, variances, 2.0) == 0
    assert leak.equivalent_mu(5.0, variances, 2.0) == np.inf


@pytest.mark.parametrize("rank", [1, 3, 9])
def test_lanczos_is_exact_where_its_steps_reach_the_rank(rank):
    rng = torch.Generator().manual_seed(rank)
    root = torch.randn(9, rank, generator=rng, dtype=torch.float64)
    matrix = root @ root.T
    start = torch.randn(4, 9, generator=rng, dtype=torch.float64)
    found = leak.quadrature(lambda v: v @ matrix, start, rank + 1)
    values, vectors = torch.linalg.eigh(matrix)
    expected = (start @ vectors).square() @ (values.clamp_min(0) / (0.1 + values.clamp_min(0)))
    assert np.allclose(found.each(lambda a: a / (0.1 + a)), expected.numpy(), rtol=1e-8)


def test_van_trees_of_a_linear_network_is_the_posterior_trace(prior):
    """Linear in the image: every image has the same J, and the floor is reached by the posterior mean."""
    gradient = ClippedGradient(ImprintLayer(16, 2).double(), 0, 1e6, total)
    images = [torch.zeros(SHAPE, dtype=torch.float64), torch.ones(SHAPE, dtype=torch.float64)]
    floor = leak.van_trees(gradient, images, prior, ("floor",), 0.5)
    variances = prior.variances.double()
    assert floor.value == pytest.approx(float((variances * 0.125 / (variances + 0.125)).sum()), rel=1e-6)
    with pytest.raises(VpauditError, match="told lambda"):
        leak.van_trees(ClippedGradient(ImprintLayer(16), 0, 1.0, total, told=True), images, prior, (), 0.5)


def test_bad_input_is_named(x):
    with pytest.raises(VpauditError, match="2 clipping norms for 8 parameters"):
        ClippedGradient(network(), 0, [1.0, 2.0])
    with pytest.raises(VpauditError, match="no parameter"):
        ClippedGradient(nn.Flatten(), 0, 1.0)
