"""The same code on a GPU: what it computes is what the CPU computes (`make test-gpu`; skipped where there is none)."""

import numpy as np
import pytest
import torch

from vpaudit.attack import reconstruct
from vpaudit.base import machine
from vpaudit.base.pixels import from_uint8
from vpaudit.base.randomness import KeyedNoise
from vpaudit.data import load
from vpaudit.measure import metrics
from vpaudit.priors import gaussian, network
from vpaudit.priors.batches import Labelled
from vpaudit.priors.spectral import SpectralPrior
from vpaudit.priors.train import Trainer
from vpaudit.privacy.mechanism import Observation
from vpaudit.sampling import few_step
from vpaudit.stages.inputs import chosen
from vpaudit.study.config import Attack, Training

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
FASHION, GAUSSIAN = "resources/priors/fashion_mnist_dit", "resources/priors/fashion_mnist_gaussian"
ATTACKS = {
    "posterior_mean": {"kind": "posterior_mean"},
    "ddim": {"kind": "ddim", "steps": 10},
    "ddim, eta 1": {"kind": "ddim", "steps": 10, "eta": 1.0},
    "multistep": {"kind": "multistep", "steps": 8, "order": 3},
    "multistep, eta 1": {"kind": "multistep", "steps": 8, "order": 2, "eta": 1.0},
    "heun, churn": {"kind": "heun", "steps": 6, "churn": 0.3},
    "ddrm": {"kind": "ddrm", "steps": 8},
    "few_step": {"kind": "few_step", "steps": 6},
}
COUNT = 70  # more than one padded call of 64


@pytest.fixture(scope="module")
def priors(root):
    """By device, in full float32."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    found = {}
    for device in ("cpu", "cuda"):
        model = network.load(root / FASHION, device)
        model.gaussian = gaussian.load(root / GAUSSIAN).to(device)
        found[device] = model
    return found


@pytest.fixture(scope="module")
def seen():
    """Observations at mu = 2, 10, 100 in turn."""
    x = from_uint8(load("fashion_mnist", "test").images[:COUNT])
    ids, s = torch.arange(COUNT), torch.tensor([10.0, 2.0, 0.2], dtype=torch.float64).repeat(COUNT)[:COUNT]
    z = KeyedNoise([("gpu", i) for i in range(COUNT)], x.shape[1:])()
    ones = torch.ones(COUNT, dtype=torch.float64)
    return Observation(x + s.float()[:, None, None, None] * z, ones, s, ids, ids % 10, "gpu", 10.0)


def part(seen: Observation, cut: slice) -> Observation:
    tensors = (seen.y, seen.lam, seen.sigma, seen.ids, seen.labels)
    return Observation(*(v[cut] for v in tensors), seen.dataset, seen.mu)


@pytest.mark.parametrize("name", ATTACKS)
def test_every_sampler_gives_what_the_cpu_gives(priors, seen, name):
    settings = Attack(name="gpu", **ATTACKS[name])
    a, b = (reconstruct.reconstruct(seen, priors[device], settings, 0).cpu() for device in ("cpu", "cuda"))
    rms = (a - b).square().flatten(1).mean(1).sqrt()
    assert float(rms.median()) < 1e-4
    assert float(rms.max()) < 0.02  # where a chain is unstable, rounding may grow


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("size", [1, 7])
def test_an_image_does_not_depend_on_what_stands_beside_it(priors, seen, name, size):
    settings = Attack(name="gpu", **ATTACKS[name])
    whole = reconstruct.reconstruct(seen, priors["cuda"], settings, 0)
    pieces = [reconstruct.reconstruct(part(seen, slice(k, k + size)), priors["cuda"], settings, 0) for k in (0, 7, 63)]
    alone = torch.cat([whole[k : k + size] for k in (0, 7, 63)])
    # network calls are filled up to a fixed size; the Gaussian prior's matrix products of a few-step solver are not
    assert torch.allclose(torch.cat(pieces), alone, atol=1e-4 if name == "few_step" else 0)


def test_auto_is_the_gpu():
    assert chosen("auto") == f"cuda:{machine.claim_gpu(torch.cuda.device_count())}"


def test_few_step_solvers_work_with_a_spectral_gaussian(seen):
    """Whose cosine transform runs on the CPU."""
    closed = SpectralPrior.fit(seen.y[:50].clamp(-1, 1))
    x, s = seen.y.clamp(-1, 1).cuda(), seen.sigma.float().cuda()
    plan = few_step.Plan(np.array([0.1, 20.0]), np.array([[0.1, 0.0], [20.0, 0.0]]), np.full((2, 1, 7), 0.1))
    ends = []
    for device in ("cpu", "cuda"):
        closed.few_step, closed.gaussian = {1: plan}, closed
        chain = reconstruct.chain(
            closed.denoise, x.to(device), s.to(device), closed, Attack(name="f", kind="few_step", steps=1)
        )
        ends.append(list(chain)[-1].cpu())
    assert torch.allclose(*ends, atol=1e-5)


def test_metrics_are_those_of_the_cpu(seen):
    a, b = seen.y[:20].clamp(-1, 1), seen.y[20:40].clamp(-1, 1)
    for name in ("mse", "psnr", "ssim", "ncc"):
        here, there = metrics.FUNCTIONS[name](a, b), metrics.FUNCTIONS[name](a.cuda(), b.cuda()).cpu()
        assert torch.allclose(here, there, rtol=1e-3, atol=1e-5), name


@pytest.mark.parametrize("architecture", ["transformer", "unet"])
def test_a_prior_trains_and_goes_on(tmp_path, architecture):
    settings = Training(
        images_seen=32 * 60, batch_size=32, width=32, layers=1, heads=2, patch_size=2, warmup_steps=2, lr=3e-3,
        architecture=architecture, optimizer="muon" if architecture == "transformer" else "adamw", compile=False,
    )  # fmt: skip
    labels = torch.arange(64) % 2
    images = (
        (labels.float() * 1.6 - 0.8)[:, None, None, None].expand(64, 1, 8, 8).contiguous()
    )  # dark ones, bright ones
    half = Trainer(Labelled(images, labels, 2, "cuda"), settings, tmp_path, "cuda")
    first = float(half.loss().detach())
    half.run(until=30)
    other = Trainer(Labelled(images, labels, 2, "cuda"), settings, tmp_path, "cuda")
    assert other.resume()
    other.run()
    assert other.step == 60
    assert float(other.loss().detach()) < 0.8 * first
