"""What an adversary makes of an unknown sigma or lambda, where likelihoods are known exactly."""

import pytest
import torch
from closed_forms import log_density

from vpaudit.attack import knowledge
from vpaudit.base.errors import VpauditError
from vpaudit.base.pixels import per_image
from vpaudit.base.randomness import generator
from vpaudit.priors.gaussian import GaussianPrior
from vpaudit.privacy.mechanism import Mechanism, release_analytic
from vpaudit.study.config import Knowledge, resolve

SHAPE, CLIP = (1, 16, 16), 1.0


@pytest.fixture(scope="module")
def prior() -> GaussianPrior:
    """Smooth images: variance falling with spatial frequency, about a grey gradient."""
    rng = generator("smooth")
    basis, _ = torch.linalg.qr(torch.randn(256, 256, generator=rng, dtype=torch.float64))
    variances = 4.0 / torch.arange(1, 257, dtype=torch.float64) ** 1.3
    mean = torch.linspace(-0.6, 0.6, 16).expand(SHAPE)
    return GaussianPrior(mean.clone(), basis.float(), variances.float())


@pytest.fixture(scope="module")
def images(prior):
    return prior.mean + prior.colour(torch.randn((300, *SHAPE), generator=generator("images")))


def seen_at(images, mu, blank=0):
    ids = torch.arange(len(images))
    return release_analytic(images, ids, torch.zeros_like(ids), Mechanism(mu, CLIP), "toy", 0, blank=blank)


@pytest.mark.parametrize("s", [0.2, 1.0, 6.0])
def test_slopes_are_the_derivatives_of_the_exact_likelihood(prior, images, s):
    """By s at fixed x, and by lambda at fixed y, against central differences of the closed form; 4,000 probes."""
    x = (images[:1] + s * torch.randn((1, *SHAPE), generator=generator("x", s))).expand(4000, *SHAPE)
    probe = torch.randn((4000, *SHAPE), generator=generator("probe")).sign()
    at = torch.full((4000,), s, dtype=torch.float64)
    by_s, by_lambda = (v.mean() for v in knowledge.slopes(prior, x, at, probe))

    def density(log_s_shift, log_lambda):
        lam, scale = torch.tensor(log_lambda).double().exp(), s * torch.tensor(log_s_shift).double().exp()
        log_p = log_density(prior, x[:1].double() / lam, (scale / lam)[None])
        return float(log_p - 256 * torch.tensor(log_lambda))

    step = 1e-3
    want_s = (density(step, 0.0) - density(-step, 0.0)) / (2 * step)
    want_lambda = (density(0.0, step) - density(0.0, -step)) / (2 * step)
    assert float(by_s) == pytest.approx(want_s, abs=0.02 * 256)
    assert float(by_lambda) == pytest.approx(want_lambda, abs=0.02 * 256)


@pytest.mark.parametrize("mu", [1.0, 5.0, 30.0])
def test_the_prior_reads_sigma_without_bias(prior, images, mu):
    """One image's error is at least 1 / sqrt(2 N) = 4.4 %; the mean of 300 is good to half a percent."""
    seen = seen_at(images, mu)
    ratio = knowledge.sigma_by_prior(prior, seen, seen.lam) / seen.sigma
    assert float(ratio.mean()) == pytest.approx(1, abs=0.02)
    assert float(ratio.std()) < 0.15


@pytest.mark.parametrize("mu", [10.0, 100.0])
def test_the_prior_reads_lambda(prior, images, mu):
    """Against the maximum of the exact likelihood over a fine grid, image by image."""
    seen = seen_at(images[:40], mu)
    typical = CLIP / knowledge.typical_norm(prior)
    found = knowledge.lambda_by_prior(prior, seen, seen.sigma, typical)
    grid = torch.linspace(-1.0, 1.0, 401, dtype=torch.float64).exp() * typical
    logs = torch.stack(
        [
            log_density(prior, seen.y.double() / lam, seen.sigma / lam) - 256 * lam.log()
            for lam in grid
        ]
    )  # fmt: skip
    best = grid[logs.argmax(0)]
    inside = (best > grid[5]) & (best < grid[-5])
    assert inside.float().mean() > 0.8
    assert float((found / best - 1)[inside].abs().median()) < 0.05


def test_typical_norm_is_that_of_the_images(prior, images):
    rms = images.flatten(1).square().sum(1).mean().sqrt()
    assert knowledge.typical_norm(prior) == pytest.approx(float(rms), rel=0.05)


@pytest.mark.parametrize("estimate", [knowledge.sigma_wavelet, knowledge.sigma_patches])
@pytest.mark.parametrize("sigma", [0.05, 2.0])
def test_image_statistics_read_the_noise_on_a_smooth_image(estimate, sigma):
    """On 96 x 96 pixels, where edges of the image and the number of patches hardly matter, to 4 %."""
    ramp = torch.linspace(-0.8, 0.8, 96).expand(8, 2, 96, 96)
    y = ramp + sigma * torch.randn(ramp.shape, generator=generator("ramp", sigma))
    assert float(estimate(y).mean() / sigma) == pytest.approx(1, abs=0.04)


@pytest.mark.parametrize(("name", "tolerance"), [("wavelet", 0.1), ("patches", 0.2), ("blank", 0.01), ("prior", 0.02)])
def test_every_estimator_reads_strong_noise(prior, images, name, tolerance):
    """At mu = 2 the signal is a sixtieth of the noise's energy; 16 x 16 pixels bias the two that use few of them."""
    seen = seen_at(images[:100], 2.0, blank=500)
    believed = knowledge.believe(seen, Knowledge(sigma=name), prior, knowledge.typical_norm(prior), CLIP)
    assert float((believed.sigma / seen.sigma).mean()) == pytest.approx(1, abs=tolerance)
    assert torch.equal(believed.lam, seen.lam)
    assert torch.equal(believed.y, seen.y)


def test_blank_coordinates_read_weak_noise_too(prior, images):
    """Their error is 1 / sqrt(2 M) at any mu, where image-based estimators take detail for noise."""
    seen = seen_at(images[:100], 300.0, blank=2000)
    ratio = knowledge.sigma_blank(seen) / seen.sigma
    assert float((ratio - 1).abs().max()) < 5 / (2 * 2000) ** 0.5
    assert float((knowledge.sigma_wavelet(seen.y) / seen.sigma).mean()) > 1.2


def test_told_values_carry_their_error(prior, images):
    seen = seen_at(images[:5], 5.0)
    told = Knowledge(sigma_error=0.1, lam_error=-0.05)
    believed = knowledge.believe(seen, told, None, 1.0, CLIP)
    assert torch.allclose(believed.sigma, seen.sigma * 1.1)
    assert torch.allclose(believed.lam, seen.lam * 0.95)
    assert torch.allclose(believed.s, seen.s * 1.1 / 0.95)
    assert told.label == "sigma +10 %, lambda -5 %"


def test_lambda_without_being_told(prior, images):
    """`norm` and `energy` agree with the truth up to the spread of norms, energy without knowing C."""
    norm = knowledge.typical_norm(prior)
    seen = seen_at(images, 50.0)
    by_norm = knowledge.believe(seen, Knowledge(lam="norm"), prior, norm, CLIP)
    assert torch.allclose(by_norm.lam, torch.full_like(seen.lam, CLIP / norm))
    by_energy = knowledge.believe(seen, Knowledge(lam="energy"), prior, norm, 12345.0)
    assert torch.allclose(by_energy.lam, by_norm.lam, rtol=0.1)  # all are clipped, so |lambda x| = C
    hopeless = knowledge.lambda_by_energy(seen_at(images, 0.1).y, torch.full((300,), 10.0), norm)
    assert (hopeless > 0).all()


@pytest.mark.parametrize(
    "contradiction", [{"sigma": "prior", "sigma_error": 0.1}, {"lam": "norm", "lam_error": 0.1}, {"sigma_error": -1}]
)
def test_knowledge_that_contradicts_itself_is_refused(contradiction):
    attacks = [{"name": "a", "kind": "posterior_mean", "knowledge": contradiction}]
    with pytest.raises(VpauditError, match=r"knowledge"):
        resolve({"attacks": attacks})


def test_estimators_without_their_means_are_refused(prior, images):
    seen = seen_at(images[:2], 5.0)
    with pytest.raises(VpauditError, match="coordinates without image"):
        knowledge.believe(seen, Knowledge(sigma="blank"), prior, 1.0, CLIP)
    with pytest.raises(VpauditError, match="asks the prior"):
        knowledge.believe(seen, Knowledge(sigma="prior"), None, 1.0, CLIP)


def test_belief_is_keyed_by_image(prior, images):
    """Invariant 1: alone or among others, an image is read the same."""
    seen = seen_at(images[:9], 5.0)
    whole = knowledge.sigma_by_prior(prior, seen, seen.lam)
    alone = knowledge.sigma_by_prior(prior, seen[4:5], seen.lam[4:5])
    assert float(alone / whole[4]) == pytest.approx(1, abs=1e-4)
    assert per_image(alone).shape == (1, 1, 1, 1)
