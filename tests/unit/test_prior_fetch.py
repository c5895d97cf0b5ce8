"""Public priors through huggingface_hub from a server on loopback that speaks the hub's paths."""

import hashlib
import http.server
import json
import threading

import diffusers
import pytest
import torch
from huggingface_hub import constants

from vpaudit.errors import VpauditError
from vpaudit.priors import fetch, network

REPO, COMMIT = "tiny/prior", "0123456789abcdef0123456789abcdef01234567"


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


class Hub(http.server.BaseHTTPRequestHandler):
    """/api/models/REPO/revision/REV and /REPO/resolve/REV/FILE, with ETag, commit, length and ranges."""

    files, status, cuts, requests = {}, 200, 0, []
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self._answer(body=False)

    def do_GET(self):
        self._answer(body=True)

    def _answer(self, body):
        type(self).requests.append((self.command, self.path, self.headers.get("Range")))
        if self.status != 200:
            codes = {403: {"X-Error-Code": "GatedRepo"}, 404: {"X-Error-Code": "RepoNotFound"}}
            return self._send(self.status, b"{}", codes.get(self.status, {}), body)
        if "/tree/" in self.path:
            rows = [
                {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                for name, content in self.files.items()
            ]
            return self._send(200, json.dumps(rows).encode(), {"Content-Type": "application/json"}, body)
        if self.path.startswith("/api/models/"):
            info = {"id": REPO, "sha": COMMIT, "siblings": [{"rfilename": name} for name in self.files]}
            return self._send(200, json.dumps(info).encode(), {"Content-Type": "application/json"}, body)
        name = self.path.split("?")[0].split(f"/resolve/{COMMIT}/")[-1]
        content = self.files[name]
        headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT}
        headers["Accept-Ranges"] = "bytes"
        start = self.headers.get("Range")
        if start:
            content = content[int(start.removeprefix("bytes=").split("-")[0]) :]
        if body and name.endswith(".bin") and type(self).cuts > 0:
            type(self).cuts -= 1
            self.send_response(200)
            for key, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            return self.connection.close()
        return self._send(206 if start else 200, content, headers, body)

    def _send(self, status, content, headers, body):
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *args):
        pass


@pytest.fixture
def hub(pipeline, monkeypatch):
    Hub.files = {path.name: path.read_bytes() for path in pipeline.iterdir()}
    Hub.status, Hub.cuts, Hub.requests = 200, 0, []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.handle_error = lambda *args: None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    yield Hub
    server.shutdown()


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
    assert [p.name for p in tmp_path.iterdir()] == ["tiny"]
    hub.requests.clear()
    fetch.fetch("tiny", tmp_path, card(), pauses=())
    assert not hub.requests  # kept


def test_a_cut_connection_is_taken_up_again(hub, tmp_path):
    hub.cuts = 1
    folder = fetch.fetch("tiny", tmp_path, card(), pauses=(0.0, 0.0))
    assert (folder / "unet" / fetch.WEIGHTS).exists()


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
