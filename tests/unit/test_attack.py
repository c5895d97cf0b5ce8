"""Invariant 1 on the attack: an image's reconstruction depends on its key, not on what stands beside it."""

import dataclasses

import diffusers
import numpy as np
import pytest
import torch

from vpaudit.attack import reconstruct
from vpaudit.base.errors import VpauditError
from vpaudit.base.pixels import per_image
from vpaudit.base.randomness import generator
from vpaudit.priors import network as networks
from vpaudit.priors.gaussian import GaussianPrior
from vpaudit.priors.network import NetworkPrior
from vpaudit.priors.train import build_network, build_scheduler
from vpaudit.privacy.mechanism import Mechanism, release_analytic
from vpaudit.sampling import few_step, samplers
from vpaudit.study.config import Attack, Training

KINDS = (
    Attack(name="raw", kind="raw"),
    Attack(name="posterior_mean", kind="posterior_mean"),
    Attack(name="ddim", kind="ddim", steps=4),
    Attack(name="ddpm", kind="ddim", steps=4, eta=1.0, draws=2),
    Attack(name="half", kind="ddim", steps=4, eta=0.5, spacing="t"),
    Attack(name="multistep", kind="multistep", steps=4, order=3, spacing="log"),
    Attack(name="sde", kind="multistep", steps=4, eta=1.0),
    Attack(name="heun", kind="heun", steps=3),
    Attack(name="churn", kind="heun", steps=3, churn=0.2),
    Attack(name="ddrm", kind="ddrm", steps=4, eta=0.85),
    Attack(name="few_step", kind="few_step", steps=2),
)


@pytest.fixture(scope="module")
def prior() -> NetworkPrior:
    """The architecture that is trained, small and with random weights everywhere (none left at zero)."""
    torch.manual_seed(0)
    settings = Training(width=32, layers=2, heads=2, patch_size=2)
    network = build_network((1, 8, 8), 10, settings)
    for weight in network.parameters():
        if weight.requires_grad:
            torch.nn.init.normal_(weight, std=0.1)
    prior = NetworkPrior(network, build_scheduler(), 0.02, 50.0, rows=8)
    levels = np.array([[s, s / 4, 0.0] for s in (0.05, 30.0)])
    none = [0.0] * 5  # of the terms in closed form
    steps = np.array([[*none, 0.25, 0.75, 0.0], [*none, 0.0, 0.0, 1.0]])  # two steps of DDIM as fixed combinations
    prior.gaussian = GaussianPrior.fit(torch.rand((100, 1, 8, 8), generator=generator("gaussian")) * 2 - 1)
    prior.few_step = {2: few_step.Plan(levels[:, 0], levels, np.stack([steps, steps]))}
    return prior


@pytest.fixture(scope="module")
def seen():
    x = torch.rand((64, 1, 8, 8), generator=generator("images")) * 2 - 1
    labels = torch.arange(64) % 10
    return release_analytic(x, torch.arange(64) * 3, labels, Mechanism(mu=4.0), "toy", 0)


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.name)
def test_batches_of_1_7_and_64_give_the_same(prior, seen, kind):
    whole = reconstruct.reconstruct(seen, prior, kind, seed=0)
    sevens = torch.cat([reconstruct.reconstruct(seen[i : i + 7], prior, kind, seed=0) for i in range(0, 64, 7)])
    single = reconstruct.reconstruct(seen[13:14], prior, kind, seed=0)
    assert (whole - sevens).abs().max() <= 1e-4
    assert (whole[13:14] - single).abs().max() <= 1e-4


def test_draws_differ_and_the_seed_counts(prior, seen):
    ddpm = KINDS[3]
    first, second = (reconstruct.reconstruct(seen[:4], prior, ddpm, seed=0, draw=d) for d in (0, 1))
    other_seed = reconstruct.reconstruct(seen[:4], prior, ddpm, seed=1)
    assert not torch.allclose(first, second)
    assert not torch.allclose(first, other_seed)
    assert torch.equal(first, reconstruct.reconstruct(seen[:4], prior, ddpm, seed=0))


def test_output_is_clipped(prior, seen):
    for kind in KINDS:
        assert reconstruct.reconstruct(seen[:8], prior, kind, seed=0).abs().max() <= 1


def test_conditioning_reaches_the_network(prior, seen):
    mean = KINDS[1]
    outputs = [
        reconstruct.reconstruct(seen[:8], prior, mean, 0, c) for c in ("unconditional", "true_class", "wrong_class")
    ]
    assert not torch.allclose(outputs[0], outputs[1])
    assert not torch.allclose(outputs[1], outputs[2])


def test_the_wrong_class_is_never_the_true_one(seen):
    wrong = reconstruct.class_labels(seen, "wrong_class", 10, seed=0)
    assert ((wrong != seen.labels) & (wrong >= 0) & (wrong < 10)).all()
    assert len(set(((wrong - seen.labels) % 10).tolist())) > 4


def test_an_unknown_class_is_not_taken_for_class_zero(seen):
    unknown = dataclasses.replace(seen, labels=torch.full_like(seen.labels, -1))
    assert reconstruct.class_labels(unknown, "unconditional", 10, seed=0) is None
    for conditioning in ("true_class", "wrong_class"):
        with pytest.raises(VpauditError, match="class of every image"):
            reconstruct.class_labels(unknown, conditioning, 10, seed=0)


def test_a_prior_of_another_shape_is_refused(prior):
    x = torch.zeros((1, 1, 9, 9)) + 0.1
    other = release_analytic(x, torch.tensor([0]), torch.tensor([0]), Mechanism(4.0), "toy", 0)
    with pytest.raises(VpauditError, match=r"\(1, 8, 8\).*\(1, 9, 9\)"):
        reconstruct.reconstruct(other, prior, KINDS[1], seed=0)


def test_noise_above_the_priors_range_is_refused(prior):
    x = torch.ones((1, 1, 8, 8))
    other = release_analytic(x, torch.tensor([0]), torch.tensor([0]), Mechanism(0.1), "toy", 0)
    with pytest.raises(VpauditError, match="above the prior's range"):
        reconstruct.reconstruct(other, prior, KINDS[1], seed=0)


def test_noise_below_the_priors_range_is_said(prior, seen):
    quiet = dataclasses.replace(seen[:2], lam=torch.full((2,), 1.0, dtype=torch.float64), sigma=0.001)
    with pytest.warns(UserWarning, match=r"s=0.001 lies below the prior's range"):
        reconstruct.reconstruct(quiet, prior, KINDS[1], seed=0)


@pytest.mark.parametrize("scale", [127.5, 255.0])
def test_an_observation_of_another_range_is_refused(prior, seen, scale):
    bytes_ = dataclasses.replace(seen[:2], y=(scale * per_image(seen.lam[:2]) * torch.ones(2, 1, 8, 8)).float())
    with pytest.raises(VpauditError, match="not an image on"):
        reconstruct.reconstruct(bytes_, prior, KINDS[1], seed=0)


def test_a_few_step_solver_that_was_not_fitted_is_named(prior, seen):
    with pytest.raises(VpauditError, match=r"no few-step solver of 7 calls \(fitted: 2\)"):
        reconstruct.reconstruct(seen[:2], prior, Attack(name="few", kind="few_step", steps=7), seed=0)


def test_a_few_step_plan_of_ddim_steps_is_ddim(prior, seen):
    x, s = seen.rescaled()[:5], seen.s.float()[:5]
    levels, coefficients = prior.few_step[2].at(s)
    assert coefficients.shape == (5, 2, 8)
    assert torch.allclose(levels, torch.stack([s, s / 4, 0 * s], dim=1), rtol=1e-5)
    got = reconstruct.reconstruct(seen[:5], prior, KINDS[-1], seed=0)
    want = samplers.last(samplers.ddim_steps(prior.denoise, x, levels)).clamp(-1, 1)
    assert torch.allclose(got, want, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "heun", "eta": 0.5}, "eta is for kinds"),
        ({"kind": "ddim", "churn": 0.1}, "churn is for kind heun"),
        ({"kind": "few_step", "draws": 3}, "several draws need a stochastic sampler"),
        ({"kind": "ddim", "steps": 0}, "greater than or equal to 1"),
    ],
)
def test_options_that_do_not_fit_the_kind_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Attack(name="a", **options)


def test_noise_levels_fall_from_start_to_zero():
    start = torch.tensor([0.01, 0.5, 30.0])
    for spacing in ("karras", "log"):
        for steps in (1, 2, 7, 60):
            levels = samplers.noise_levels(start, steps, spacing)
            assert levels.shape == (3, steps + 1)
            assert torch.equal(levels[:, 0], start)
            assert (levels[:, -1] == 0).all()
            assert (levels.diff(dim=1) < 0).all()
    with pytest.raises(VpauditError, match="steps=0"):
        samplers.noise_levels(start, 0)
    with pytest.raises(VpauditError, match="spacing='lin'"):
        samplers.noise_levels(start, 3, "lin")


def test_one_step_of_any_sampler_is_the_posterior_mean(prior, seen):
    """With a single call the chain goes straight to E[x0 | y], whatever eta."""
    mean = reconstruct.reconstruct(seen[:4], prior, KINDS[1], seed=0)
    for eta in (0.0, 1.0):
        one = reconstruct.reconstruct(seen[:4], prior, Attack(name="one", kind="ddim", steps=1, eta=eta), seed=0)
        assert torch.allclose(one, mean, atol=1e-5)


def save(prior, folder):
    prior.network.save_pretrained(folder / "transformer")
    build_scheduler().save_pretrained(folder / "scheduler")


def test_a_saved_prior_answers_the_same(prior, seen, tmp_path):
    save(prior, tmp_path)
    again = networks.load(tmp_path)
    again.rows = prior.rows
    x, s = seen.rescaled()[:8], seen.s.float()[:8]
    assert torch.allclose(again.denoise(x, s), prior.denoise(x, s), atol=1e-5)


def test_missing_altered_and_nan_weights_are_named(prior, tmp_path):
    from safetensors.torch import load_file, save_file

    with pytest.raises(VpauditError, match="no prior in"):
        networks.load(tmp_path / "nothing")
    save(prior, tmp_path)
    weights = tmp_path / "transformer" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    tensors["proj_out_2.weight"][0, 0] = float("nan")
    save_file(tensors, weights)
    with pytest.raises(VpauditError, match=r"NaN.*proj_out_2"):
        networks.load(tmp_path)
    (tmp_path / "card.json").write_text('{"sha256": "00"}')
    with pytest.raises(VpauditError, match="truncated or altered"):
        networks.load(tmp_path)
    (tmp_path / "card.json").unlink()
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(VpauditError, match="cannot be read"):
        networks.load(tmp_path)


def test_learned_variance_channels_are_dropped():
    """ADM-style networks put out 2 C channels; the first C are epsilon."""
    torch.manual_seed(1)
    unet = diffusers.UNet2DModel(
        sample_size=8, in_channels=3, out_channels=6, block_out_channels=(8, 8), norm_num_groups=4, layers_per_block=1,
        down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    prior = NetworkPrior(unet, diffusers.DDPMScheduler(clip_sample=False), rows=2)
    assert prior.shape == (3, 8, 8)
    assert prior.denoise(torch.zeros(2, 3, 8, 8), torch.ones(2)).shape == (2, 3, 8, 8)
