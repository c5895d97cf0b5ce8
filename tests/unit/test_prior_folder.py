"""Priors as other people's folders hold them: loaded with the meaning they have, or refused by name."""

import json
import shutil
from pathlib import Path

import diffusers
import pytest
import torch

from vpaudit.base.errors import VpauditError
from vpaudit.commands.audit import prior as priors
from vpaudit.priors import folder, network
from vpaudit.priors.schedule import SigmaTable

SIDE = 8


def unet(**options):
    torch.manual_seed(0)
    return diffusers.UNet2DModel(
        **{
            "sample_size": SIDE, "in_channels": 1, "out_channels": 1, "block_out_channels": (8, 8),
            "norm_num_groups": 4, "layers_per_block": 1, "down_block_types": ("DownBlock2D", "DownBlock2D"),
            "up_block_types": ("UpBlock2D", "UpBlock2D"), **options,
        }
    ).eval()  # fmt: skip


def save(path: Path, scheduler=None, card=None, saving=None, **options) -> Path:
    """A prior's folder; scheduler: a diffusers scheduler, or its configuration."""
    unet(**options).save_pretrained(path / "unet", **(saving or {}))
    if isinstance(scheduler, dict):
        (path / "scheduler").mkdir()
        (path / "scheduler/scheduler_config.json").write_text(json.dumps(scheduler))
    else:
        (scheduler or diffusers.DDPMScheduler()).save_config(path / "scheduler")
    if card:
        (path / "card.json").write_text(json.dumps(card))
    return path


def change(path: Path, **settings) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def output(prior, x, sigma, labels=None):
    return prior.denoise(x, torch.full((len(x),), sigma), labels)


X = torch.linspace(-1, 1, 2 * SIDE**2).reshape(2, 1, SIDE, SIDE)
OLD = {"_class_name": "DDPMScheduler", "beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear"}


@pytest.mark.parametrize(
    ("scheduler", "word"),
    [
        (diffusers.ScoreSdeVeScheduler(), "ScoreSdeVeScheduler"),
        ({"_class_name": "ScoreSdeVpScheduler"}, "ScoreSdeVpScheduler"),
        (diffusers.FlowMatchEulerDiscreteScheduler(), "FlowMatchEulerDiscreteScheduler"),
        (diffusers.EDMEulerScheduler(), "EDMEulerScheduler"),
        ({"_class_name": "KarrasVeScheduler"}, "KarrasVeScheduler"),
        (diffusers.CMStochasticIterativeScheduler(), "CMStochasticIterativeScheduler"),
        (diffusers.EulerDiscreteScheduler(timestep_type="continuous"), "timestep_type is 'continuous'"),
        (diffusers.DPMSolverMultistepScheduler(use_flow_sigmas=True), "use_flow_sigmas is True"),
        (OLD | {"prediction_type": "flow_prediction"}, "prediction_type is 'flow_prediction'"),
        (OLD | {"beta_schedule": "own"}, "own"),
        (OLD | {"prediction_type": "epsilon", "predict_epsilon": False}, "predict_epsilon is False"),
        ({"beta_schedule": "linear"}, "its scheduler is None"),
        (diffusers.DDPMScheduler(trained_betas=[0.01, 0.0, 0.02]), "does not grow with every timestep"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_ddpm_schedule_is_refused_by_name(tmp_path, scheduler, word):
    with pytest.raises(VpauditError, match=word):
        network.load(save(tmp_path, scheduler))


@pytest.mark.parametrize("name", folder.SCHEDULERS)
def test_samplers_of_the_family_mean_the_same_schedule(tmp_path, name):
    options = {"beta_start": 0.001, "beta_end": 0.03, "beta_schedule": "linear"}
    prior = network.load(save(tmp_path, getattr(diffusers, name)(**options)))
    assert prior.sigma_max == pytest.approx(SigmaTable(diffusers.DDPMScheduler(**options).alphas_cumprod).sigma_max)


@pytest.mark.parametrize(("old", "new"), [(False, "sample"), (True, "epsilon")])
def test_predict_epsilon_of_old_configurations_is_understood(tmp_path, old, new):
    before = network.load(save(tmp_path / "old", OLD | {"predict_epsilon": old}))
    after = network.load(save(tmp_path / "new", OLD | {"prediction_type": new}))
    assert before.prediction_type == new
    assert torch.equal(output(before, X, 2.0), output(after, X, 2.0))


def test_zero_terminal_snr_ends_where_the_signal_does(tmp_path):
    scheduler = diffusers.DDPMScheduler(rescale_betas_zero_snr=True, prediction_type="v_prediction")
    assert scheduler.alphas_cumprod[-1] == 0
    prior = network.load(save(tmp_path, scheduler))
    abar = float(scheduler.alphas_cumprod[-2])
    assert prior.sigma_max == pytest.approx(((1 - abar) / abar) ** 0.5, rel=1e-4)
    assert torch.isfinite(output(prior, X, prior.sigma_max)).all()


def test_a_class_is_never_taken_for_none(tmp_path):
    """Without a null class a U-Net is asked with a class; an audit, which knows none, refuses it."""
    path = save(tmp_path / "prior", num_class_embeds=5)
    prior = network.load(path)
    assert prior.num_classes == 5
    assert output(prior, X, 2.0, torch.tensor([0, 4])).shape == X.shape
    with pytest.raises(VpauditError, match="null_class"):
        output(prior, X, 2.0)
    with pytest.raises(VpauditError, match="null_class"):
        priors.named(str(path))


@pytest.mark.parametrize("null", [0, 2, 4])
def test_the_card_names_the_null_class(tmp_path, null):
    """Classes keep their order around it; labels None and num_classes mean it."""
    plain = network.load(save(tmp_path / "plain", num_class_embeds=5))
    prior = network.load(save(tmp_path / "prior", card={"null_class": null}, num_class_embeds=5))
    assert prior.num_classes == 4
    others = [k for k in range(5) if k != null]
    for label, embedding in [*enumerate(others), (4, null)]:
        wanted = output(plain, X, 2.0, torch.full((2,), embedding))
        assert torch.equal(output(prior, X, 2.0, torch.full((2,), label)), wanted)
    assert torch.equal(output(prior, X, 2.0), output(plain, X, 2.0, torch.full((2,), null)))


def test_a_null_class_that_is_none_of_the_classes_is_refused(tmp_path):
    with pytest.raises(VpauditError, match="null_class 7"):
        network.load(save(tmp_path, card={"null_class": 7}, num_class_embeds=5))


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"class_embed_type": "timestep"}, "class_embed_type is 'timestep'"),
        ({"class_embed_type": "identity"}, "class_embed_type is 'identity'"),
        ({"time_embedding_type": "fourier"}, "time_embedding_type is 'fourier'"),
        ({"in_channels": 4, "out_channels": 4}, r"\(4, 8, 8\)"),
        ({"sample_size": (8, 16)}, r"\(1, 8, 16\)"),
        ({"sample_size": None}, "does not give its sample_size"),
        ({"in_channels": 3}, "1 channels out of 3"),
    ],
)
def test_networks_that_are_not_understood_are_refused_by_name(tmp_path, options, word):
    with pytest.raises(VpauditError, match=word):
        network.load(save(tmp_path, **options))


def test_other_networks_and_pipelines_of_more_parts_are_refused_by_name(tmp_path):
    path = save(tmp_path)
    index = {"_class_name": "LDMPipeline", "unet": ["diffusers", "UNet2DModel"], "vqvae": ["diffusers", "VQModel"]}
    (path / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(VpauditError, match="LDMPipeline with vqvae"):
        network.load(path)
    (path / "model_index.json").write_text(json.dumps({k: v for k, v in index.items() if k != "vqvae"}))
    network.load(path)
    change(path / "unet/config.json", _class_name="UNet2DConditionModel")
    with pytest.raises(VpauditError, match="its network is UNet2DConditionModel"):
        network.load(path)


@pytest.mark.parametrize("size", [[SIDE], [SIDE, SIDE], None])
def test_sizes_as_lists_and_from_the_card(tmp_path, size):
    path = save(tmp_path, card={"shape": [1, SIDE, SIDE]})
    change(path / "unet/config.json", sample_size=size)
    assert network.load(path).shape == (1, SIDE, SIDE)
    (path / "card.json").write_text(json.dumps({"shape": [3, SIDE, SIDE]}))
    with pytest.raises(VpauditError, match="its card says"):
        network.load(path)


@pytest.mark.parametrize(
    ("saving", "names"),
    [
        ({"safe_serialization": False}, ["diffusion_pytorch_model.bin"]),
        ({"variant": "fp16"}, ["diffusion_pytorch_model.fp16.safetensors"]),
        ({"variant": "fp16", "safe_serialization": False}, ["diffusion_pytorch_model.fp16.bin"]),
        ({"max_shard_size": "10KB"}, ["diffusion_pytorch_model.safetensors.index.json"]),
        ({"max_shard_size": "10KB", "variant": "fp16"}, ["diffusion_pytorch_model.safetensors.index.fp16.json"]),
    ],
    ids=["bin", "fp16", "fp16 bin", "shards", "fp16 shards"],
)
@pytest.mark.parametrize("root", [False, True])
def test_weights_of_every_kind_are_the_same_prior(tmp_path, saving, names, root):
    plain, path = save(tmp_path / "plain"), save(tmp_path / "other", saving=saving)
    assert set(names) <= {p.name for p in (path / "unet").iterdir()}
    if root:
        for file in [*(path / "unet").iterdir(), *(path / "scheduler").iterdir()]:
            shutil.move(file, path)
        (path / "unet").rmdir()
        (path / "scheduler").rmdir()
    assert torch.equal(output(network.load(path), X, 2.0), output(network.load(plain), X, 2.0))


def test_pickled_weights_run_no_code(tmp_path):
    class Harm:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "harmed",))

    path = save(tmp_path / "prior", saving={"safe_serialization": False})
    torch.save({"conv_in.weight": Harm()}, path / "unet/diffusion_pytorch_model.bin")
    with pytest.raises(VpauditError, match="cannot be read"):
        network.load(path)
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize("options", [{"layers_per_block": 2}, {"num_class_embeds": 4}, {"block_out_channels": (8, 16)}])
def test_weights_of_another_network_are_refused(tmp_path, options):
    """Not filled up with random numbers, nor left out."""
    for mine, other in (({}, options), (options, {})):
        path = save(tmp_path / f"{len(mine)}", **mine)
        unet(**other).save_pretrained(tmp_path / "other")
        shutil.copy(tmp_path / "other/diffusion_pytorch_model.safetensors", path / "unet")
        with pytest.raises(VpauditError, match=r"not those of its config|cannot be read"):
            network.load(path)


@pytest.mark.parametrize("name", ["unet/config.json", "scheduler/scheduler_config.json", "card.json"])
def test_json_that_is_cut_short_is_named(tmp_path, name):
    path = save(tmp_path, card={"shape": [1, SIDE, SIDE]})
    (path / name).write_text((path / name).read_text()[:-9])
    with pytest.raises(VpauditError, match=name):
        network.load(path)
    (path / name).write_bytes(b"\xff\xfe[\0]\0")
    with pytest.raises(VpauditError, match=name):
        network.load(path)


def test_a_folder_without_a_part_says_which(tmp_path):
    path = save(tmp_path)
    (path / "unet/diffusion_pytorch_model.safetensors").rename(path / "unet/flax_model.msgpack")
    with pytest.raises(VpauditError, match=r"no weights in .*unet, only config\.json, flax_model\.msgpack"):
        network.load(path)
    with pytest.raises(VpauditError, match="no weights in"):
        priors.named(str(path))
    shutil.rmtree(path / "scheduler")
    with pytest.raises(VpauditError, match=r"no scheduler_config\.json"):
        network.load(path)


INPUTS = Path(__file__).parents[3] / "shared" / "inputs"
MEANT = {  # what a prior predicts, or the error's words
    "p_bin": "epsilon", "p_root": "epsilon", "p_old_predict_x0": "sample",
    "p_flow": "is FlowMatchEulerDiscreteScheduler",
    "p_sde_ve": "is ScoreSdeVeScheduler", "p_size_none": "does not give its sample_size",
}  # fmt: skip


@pytest.mark.skipif(not INPUTS.exists(), reason="../shared/inputs is not here: small prior folders that went wrong")
@pytest.mark.parametrize("name", MEANT)
def test_inputs_that_went_wrong(name, tmp_path):
    shutil.unpack_archive(INPUTS / f"{name}.tgz", tmp_path, "gztar", filter="data")
    (path,) = tmp_path.iterdir()
    if MEANT[name] in folder.PREDICTIONS:
        assert network.load(path).prediction_type == MEANT[name]
        return
    with pytest.raises(VpauditError, match=MEANT[name]):
        network.load(path)
