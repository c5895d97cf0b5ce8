"""The same network, the same steps: our samplers against diffusers' own schedulers."""

import diffusers
import pytest
import torch

import architectures
from vpaudit.priors import network as networks
from vpaudit.priors.network import NetworkPrior
from vpaudit.sampling import samplers

PREDICTIONS = ("epsilon", "v_prediction", "sample")


def tiny_prior(prediction_type: str = "epsilon") -> NetworkPrior:
    torch.manual_seed(0)
    network = diffusers.UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, block_out_channels=(8, 16), layers_per_block=1,
        norm_num_groups=4, down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    scheduler = diffusers.DDPMScheduler(prediction_type=prediction_type, clip_sample=False)
    return NetworkPrior(network, scheduler, rows=4)


def start(prior, t: int, count: int = 4):
    """A state at timestep t in both coordinates: (VP sample, VE x, sigma)."""
    sigma = prior.table.sigma_of_t(torch.tensor([float(t)]))
    scaled = torch.randn((count, 1, 8, 8), generator=torch.Generator().manual_seed(1))
    return scaled, scaled * (1 + sigma**2).sqrt(), sigma


def levels_of(prior, timesteps, count: int = 4):
    sigmas = prior.table.sigma_of_t(torch.tensor(timesteps, dtype=torch.float64))
    return torch.cat([sigmas, torch.zeros(1)]).expand(count, -1)


@pytest.mark.parametrize("prediction_type", PREDICTIONS)
@torch.inference_mode()
def test_ddim_equals_diffusers_where_its_steps_are_exact(prediction_type):
    prior = tiny_prior(prediction_type)
    theirs = diffusers.DDIMScheduler(
        prediction_type=prediction_type, clip_sample=False, set_alpha_to_one=True, timestep_spacing="leading"
    )
    theirs.set_timesteps(50)  # 1000 / 50 is whole, so its integer division is exact
    steps = [int(t) for t in theirs.timesteps if t <= 620]
    scaled, x, _ = start(prior, steps[0])
    for t in steps:
        output = prior(scaled, torch.full((4,), float(t)), None)
        scaled = theirs.step(output, t, scaled).prev_sample
    got = samplers.last(samplers.ddim_steps(prior.denoise, x, levels_of(prior, steps)))
    assert torch.allclose(got, scaled, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("prediction_type", PREDICTIONS)
@torch.inference_mode()
def test_ddpm_equals_diffusers_with_the_same_noise(prediction_type):
    """diffusers' DDPM with explicit timesteps and fixed_small variance; its noise is recorded and replayed."""
    prior = tiny_prior(prediction_type)
    theirs = diffusers.DDPMScheduler(prediction_type=prediction_type, clip_sample=False, variance_type="fixed_small")
    steps = [700, 512, 333, 200, 77, 20, 3, 0]
    theirs.set_timesteps(timesteps=steps)
    scaled, x, _ = start(prior, steps[0])
    noises = [torch.randn(x.shape, generator=torch.Generator().manual_seed(i)) for i in range(len(steps))]
    replay = iter(noises)
    for number, t in enumerate(steps):
        output = prior(scaled, torch.full((4,), float(t)), None)
        generator = torch.Generator().manual_seed(number)
        scaled = theirs.step(output, t, scaled, generator=generator).prev_sample
    got = samplers.last(samplers.ddim_steps(prior.denoise, x, levels_of(prior, steps), 1.0, lambda: next(replay)))
    assert torch.allclose(got, scaled, atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("prediction_type", PREDICTIONS)
@torch.inference_mode()
def test_second_order_multistep_equals_diffusers(prediction_type, eta):
    """DPM-Solver++ 2M and its SDE form, `heun` weights (the exact integral of the line through two calls)."""
    prior = tiny_prior(prediction_type)
    steps = [700, 512, 333, 200, 77, 20, 3]
    theirs = diffusers.DPMSolverMultistepScheduler(
        prediction_type=prediction_type, algorithm_type="sde-dpmsolver++" if eta else "dpmsolver++", solver_order=2,
        solver_type="heun", final_sigmas_type="zero",
    )  # fmt: skip
    theirs.set_timesteps(timesteps=steps)
    scaled, x, _ = start(prior, steps[0])
    noises = [torch.randn(x.shape, generator=torch.Generator().manual_seed(i)) for i in range(len(steps))]
    replay = iter(noises)
    for t, noise in zip(steps, noises):
        output = prior(scaled, torch.full((4,), float(t)), None)
        scaled = theirs.step(output, t, scaled, variance_noise=noise).prev_sample
    states = samplers.multistep_steps(prior.denoise, x, levels_of(prior, steps), eta, lambda: next(replay), order=2)
    assert torch.allclose(samplers.last(states), scaled, atol=1e-3, rtol=1e-3)


@torch.inference_mode()
def test_heun_equals_diffusers():
    prior = tiny_prior()
    steps = [700, 333, 77, 3]
    theirs = diffusers.HeunDiscreteScheduler(beta_start=1e-4, beta_end=0.02, beta_schedule="linear")
    theirs.set_timesteps(timesteps=steps)
    _, x, _ = start(prior, steps[0])
    state = x
    for t in theirs.timesteps:
        output = prior(theirs.scale_model_input(state, t), t.float().expand(4), None)
        state = theirs.step(output, t, state).prev_sample
    got = samplers.last(samplers.heun_steps(prior.denoise, x, levels_of(prior, steps)))
    assert torch.allclose(got, state, atol=1e-3, rtol=1e-3)


@torch.inference_mode()
def test_padding_never_changes_a_result():
    prior = tiny_prior()
    x = torch.randn((7, 1, 8, 8), generator=torch.Generator().manual_seed(2))
    sigma = torch.linspace(0.1, 20, 7)
    whole = prior.denoise(x, sigma)
    single = torch.cat([prior.denoise(x[i : i + 1], sigma[i : i + 1]) for i in range(7)])
    assert torch.allclose(whole, single, atol=1e-5)
    assert prior.calls == 14


def test_sigma_table_inverts_and_knows_the_linear_schedule():
    """paper.md section 0: s -> t for the linear schedule, 0-based."""
    table = tiny_prior().table
    assert table.sigma_min == pytest.approx(0.0100, abs=2e-4)
    assert table.sigma_max == pytest.approx(157.4, rel=1e-3)
    s = torch.tensor([0.05, 0.1, 0.25, 0.5, 1, 2, 4, 5.6, 10, 20, 44, 100])
    expected = torch.tensor([11.0, 26, 73, 144, 258, 396, 527, 584, 674, 768, 864, 953])
    t = table.t_of_sigma(s)
    assert (t.round() - expected).abs().max() <= 1
    assert torch.allclose(table.sigma_of_t(t), s, rtol=1e-4)


@torch.inference_mode()
def test_a_public_priors_folder_gives_the_images_of_diffusers_own_pipeline(tmp_path):
    """google/ddpm-cifar10-32 in full with random weights, through `load`, and DDIMPipeline from the same noise."""
    prior = networks.load(architectures.save("cifar10", tmp_path), rows=1)
    scheduler = diffusers.DDIMScheduler(clip_sample=False, set_alpha_to_one=True, timestep_spacing="leading")
    pipeline = diffusers.DDIMPipeline(prior.network, scheduler)
    pipeline.set_progress_bar_config(disable=True)
    seed = torch.Generator().manual_seed(5)
    theirs = pipeline(num_inference_steps=4, eta=0.0, generator=seed, output_type="np", return_dict=False)[0]
    scaled = torch.randn((1, 3, 32, 32), generator=torch.Generator().manual_seed(5))
    levels = levels_of(prior, [750, 500, 250, 0], 1)
    x = scaled * (1 + levels[0, 0] ** 2).sqrt()
    ours = samplers.last(samplers.ddim_steps(prior.denoise, x, levels)) / 2 + 0.5
    assert ours.std() > 0.1
    assert torch.allclose(ours.clamp(0, 1).permute(0, 2, 3, 1), torch.from_numpy(theirs), atol=1e-3)


@torch.inference_mode()
def test_of_a_learned_variance_the_mean_is_kept(tmp_path):
    """ADM's layout, narrowed: six channels out, of which the first three are epsilon."""
    prior = networks.load(architectures.save("imagenet", tmp_path, 16), rows=2)
    x, t = torch.randn(2, 3, 32, 32), torch.tensor([10.0, 500.0])
    whole = prior.network(x, t).sample
    assert whole.shape[1] == 6
    assert torch.equal(prior(x, t, None), whole[:, :3])
