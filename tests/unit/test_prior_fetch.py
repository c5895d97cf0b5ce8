"""Public priors through huggingface_hub from a server on loopback that speaks the hub's paths."""

import hashlib
import io
import json
import pickle
import shutil
from pathlib import Path

import diffusers
import hub_server
import pytest
import torch
import yaml
from huggingface_hub import constants

from vpaudit.base.errors import VpauditError
from vpaudit.priors import fetch, network

REPO = "tiny/prior"


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    """A small pipeline in the layout of google/ddpm-cifar10-32: everything in the root, weights as .bin."""
    folder = tmp_path_factory.mktemp("pipeline")
    torch.manual_seed(0)
    unet = diffusers.UNet2DModel(
        sample_size=8, in_channels=3, out_channels=3, block_out_channels=(8, 8), norm_num_groups=4, layers_per_block=1,
        down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    unet.save_pretrained(folder, safe_serialization=False)
    diffusers.DDPMScheduler().save_config(folder)
    return folder


@pytest.fixture
def hub(pipeline, monkeypatch):
    with hub_server.serving({p.name: p.read_bytes() for p in pipeline.iterdir()}, REPO, monkeypatch) as server:
        yield server


def card(**changes):
    about = {
        "repo": REPO, "revision": "main", "licence": "MIT", "trained_on": "noise", "shape": [3, 8, 8],
        "unet": {"config": "config.json", "weights": [fetch.WEIGHTS, "diffusion_pytorch_model.bin"]},
        "scheduler": "scheduler_config.json", "sha256": {},
    }  # fmt: skip
    return about | changes


def test_a_fetched_prior_is_the_one_that_was_served(hub, pipeline, tmp_path):
    folder = fetch.fetch("tiny", tmp_path, card(), pauses=())
    prior = network.load(folder)
    original = diffusers.UNet2DModel.from_pretrained(pipeline, use_safetensors=False)
    x, t = torch.randn(2, 3, 8, 8), torch.tensor([10.0, 500.0])
    with torch.no_grad():
        assert torch.allclose(prior(x, t, None), original(x, t).sample, atol=1e-5)
    about = json.loads((folder / "card.json").read_text())
    assert about["source_sha256"] == hashlib.sha256(hub.files["diffusion_pytorch_model.bin"]).hexdigest()
    assert about["revision"] == hub_server.COMMIT
    assert sorted(p.name for p in tmp_path.iterdir()) == ["lock.yaml", "tiny"]
    hub.requests.clear()
    fetch.fetch("tiny", tmp_path, card(), pauses=())
    assert not hub.requests  # kept


def test_a_cut_connection_is_taken_up_again(hub, tmp_path):
    hub.cuts = 1
    folder = fetch.fetch("tiny", tmp_path, card(), pauses=(0.0, 0.0))
    assert (folder / "unet" / fetch.WEIGHTS).exists()
    assert [start for _, path, start in hub.requests if path.endswith(".bin") and start]  # from where it was cut


@pytest.mark.parametrize(
    ("status", "message"), [(403, "is gated"), (404, "was not found"), (500, "could not be reached")], ids=str
)
def test_refusals_are_named_and_leave_nothing(hub, tmp_path, status, message):
    hub.status = status
    with pytest.raises(VpauditError, match=message):
        fetch.fetch("tiny", tmp_path, card(), pauses=())
    assert not (tmp_path / "tiny").exists()


def test_a_wrong_hash_is_named_and_leaves_nothing(hub, tmp_path):
    with pytest.raises(VpauditError, match=r"sha256 .*, the card says 00"):
        fetch.fetch("tiny", tmp_path, card(sha256={"diffusion_pytorch_model.bin": "00"}), pauses=())
    assert not (tmp_path / "tiny").exists()


def test_the_first_fetch_pins_revision_and_bytes(hub, tmp_path):
    """The card says `main`; the lock then says which commit that was, and other bytes are refused."""
    folder = fetch.fetch("tiny", tmp_path, card(), pauses=())
    lock = yaml.safe_load((tmp_path / "lock.yaml").read_text())["tiny"]
    weights = "diffusion_pytorch_model.bin"
    digest = hashlib.sha256(hub.files[weights]).hexdigest()
    assert lock == {"repo": REPO, "revision": hub_server.COMMIT, "files": {weights: digest}}
    shutil.rmtree(folder)
    hub.requests.clear()
    fetch.fetch("tiny", tmp_path, card(), pauses=())
    assert not [path for _, path, _ in hub.requests if path.endswith("/main")]  # the commit is asked for
    shutil.rmtree(folder)
    state = torch.load(io.BytesIO(hub.files[weights]), weights_only=True)
    changed = io.BytesIO()
    torch.save({name: tensor + 1 for name, tensor in state.items()}, changed)
    hub.files[weights] = changed.getvalue()
    with pytest.raises(VpauditError, match=rf"lock\.yaml recorded {digest}"):
        fetch.fetch("tiny", tmp_path, card(), pauses=())
    assert not folder.exists()


def test_safetensors_are_preferred(hub, pipeline, tmp_path):
    unet = diffusers.UNet2DModel.from_pretrained(pipeline, use_safetensors=False)
    unet.save_pretrained(tmp_path / "safe", safe_serialization=True)
    hub.files[fetch.WEIGHTS] = (tmp_path / "safe" / fetch.WEIGHTS).read_bytes()
    folder = fetch.fetch("tiny", tmp_path / "out", card(), pauses=())
    about = json.loads((folder / "card.json").read_text())
    assert about["source_sha256"] == hashlib.sha256(hub.files[fetch.WEIGHTS]).hexdigest()


def test_pickled_weights_run_no_code(hub, tmp_path):
    class Harm:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "harmed",))

    hub.files["diffusion_pytorch_model.bin"] = pickle.dumps(Harm())
    with pytest.raises(VpauditError, match="cannot be read"):
        fetch.fetch("tiny", tmp_path / "out", card(), pauses=())
    assert not (tmp_path / "harmed").exists()
    assert not (tmp_path / "out" / "tiny").exists()


def test_a_repository_without_the_cards_files(hub, tmp_path):
    del hub.files["scheduler_config.json"]
    with pytest.raises(VpauditError, match=r"holds no scheduler_config\.json"):
        fetch.fetch("tiny", tmp_path, card(), pauses=())
    assert not (tmp_path / "tiny").exists()


def test_a_shape_that_the_card_does_not_say_is_refused(hub, tmp_path):
    with pytest.raises(VpauditError, match="its card says"):
        fetch.fetch("tiny", tmp_path, card(shape=[3, 9, 9]), pauses=())


def test_no_server_is_said_with_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(VpauditError, match="tiny/prior"):
        fetch.fetch("tiny", tmp_path, card(), pauses=())


def test_unknown_names_and_known_cards():
    with pytest.raises(VpauditError, match="known: ddpm_cifar10"):
        fetch.card("ddpm_cifar11")
    assert fetch.card("adm_imagenet_256")["shape"] == [3, 256, 256]
