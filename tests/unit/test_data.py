"""Loading, selecting and fetching images: verified, named when wrong, never half-written."""

import errno
import gzip
import hashlib
import http.server
import io as memory
import socket
import subprocess
import threading

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch
from PIL import Image

from vpaudit import data
from vpaudit.base import pixels, places
from vpaudit.base.errors import VpauditError
from vpaudit.data import fetch, read


def test_shipped_images_are_the_first_of_each_split():
    train, test = (data.load("fashion_mnist", split) for split in ("train", "test"))
    assert train.images.shape == (6000, 28, 28)
    assert test.images.shape == (2000, 28, 28)
    assert train.labels[:5].tolist() == [9, 0, 0, 3, 0]  # as published
    assert test.labels[:5].tolist() == [9, 2, 1, 1, 6]


def test_no_test_image_is_among_the_training_images():
    """Of the shipped subset here; of all 70,000 where they have been fetched."""
    full = (read.fetched() / "fashion_mnist" / "train-images-idx3-ubyte.gz").exists()
    train, test = (data.load("fashion_mnist", split, full=full) for split in ("train", "test"))

    def digests(images):
        return {hashlib.sha256(image.tobytes()).digest() for image in images.images}

    shared = digests(train) & digests(test)
    assert not shared


def test_training_reads_the_train_split_alone(monkeypatch, tmp_path):
    """What the prior stage hands to the trainer is the train split; test images reach only the card's held-out loss."""
    from vpaudit.priors import card
    from vpaudit.stages import priors as stage
    from vpaudit.stages import training
    from vpaudit.study import config as configuration
    from vpaudit.study.layout import Layout

    asked, given = [], {}
    real = data.load

    def spy(name, split, full=False):
        asked.append((split, full))
        return real(name, split, full)

    class Recorder:
        step = 0

        def __init__(self, source, *rest):
            given["images"] = source.images

        def resume(self, adopt):
            return False

        def run(self, until):
            pass

    monkeypatch.setattr(data, "load", spy)
    monkeypatch.setattr(training, "Trainer", Recorder)
    monkeypatch.setattr(card, "export", lambda trainer, folder, held_out, about: given.update(held_out=held_out))
    config = configuration.resolve({"study": "t", "data": {"name": "digits", "images": 10}})
    stage.prior(config, Layout(config))
    assert asked == [("train", True), ("test", False)]
    assert len(given["images"]) == 1297
    trained = {image.numpy().tobytes() for image in given["images"]}
    assert sum(image.tobytes() in trained for image in pixels.to_uint8(given["held_out"])) == 0
    assert given["images"][0].numpy().tobytes() == data.load("digits", "train").images[0].tobytes()  # as compared here


def test_digits_split_is_fixed_and_disjoint():
    train, test = data.load("digits", "train"), data.load("digits", "test")
    assert (len(train), len(test)) == (1297, 500)
    assert train.images.max() == 255
    assert np.array_equal(test.images, data.load("digits", "test").images)


def test_selection_is_keyed_and_sorted():
    images = data.load("digits", "test")
    a, b, c = data.select(images, 40, 1), data.select(images, 40, 1), data.select(images, 40, 2)
    assert np.array_equal(a.ids, b.ids)
    assert not np.array_equal(a.ids, c.ids)
    assert (np.diff(a.ids) > 0).all()
    assert np.array_equal(a.images, images.images[a.ids])
    with pytest.raises(VpauditError, match="at most 500"):
        data.select(images, 501, 0)


def test_unknown_names_are_answered_with_known_ones():
    with pytest.raises(VpauditError, match="fashion_mnist"):
        data.load("fashion-mnist", "test")
    with pytest.raises(VpauditError, match="train or test"):
        data.load("digits", "valid")


def test_altered_archive_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    path.write_bytes(b"abc")
    with pytest.raises(VpauditError, match=r"truncated or altered.*expected 00"):
        read.verify(path, "00", "")


@pytest.mark.parametrize("harm", ["truncated", "one bit"])
def test_a_harmed_shipped_archive_is_refused(harm, tmp_path, monkeypatch):
    expected = data.card("fashion_mnist")["shipped"]
    content = bytearray(places.resource(expected["path"]).read_bytes())
    if harm == "truncated":
        del content[-1000:]
    else:
        content[len(content) // 2] ^= 1
    copy = tmp_path / expected["path"]
    copy.parent.mkdir(parents=True)
    copy.write_bytes(content)
    monkeypatch.setenv("VPAUDIT_HOME", str(tmp_path))
    with pytest.raises(VpauditError, match="truncated or altered") as caught:
        data.load("fashion_mnist", "test")
    assert expected["sha256"] in str(caught.value)
    assert hashlib.sha256(content).hexdigest() in str(caught.value)


def test_selection_knows_nothing_of_order_or_count():
    """The same key gives the same images whatever was asked before, and a smaller selection lies in a larger one."""
    images = data.load("digits", "test")
    alone = data.select(images, 40, 1).ids
    data.select(images, 7, 99)
    torch.rand(5)
    assert np.array_equal(data.select(images, 40, 1).ids, alone)
    assert set(data.select(images, 20, 1).ids) < set(alone)


def test_a_huge_image_is_named(tmp_path, monkeypatch):
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 16)
    with pytest.raises(VpauditError, match=r"bomb\.png"):
        data.load_local(tmp_path)


def test_folder_of_images(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("b.png", "a.png"):
        Image.fromarray(rng.integers(0, 255, (8, 8), dtype=np.uint8)).save(tmp_path / name)
    images = data.load_local(tmp_path)
    assert images.images.shape == (2, 8, 8)
    assert images.labels.tolist() == [-1, -1]
    (tmp_path / "c.png").write_text("not an image")
    with pytest.raises(VpauditError, match=r"c\.png is not usable"):
        data.load_local(tmp_path)
    Image.fromarray(np.zeros((9, 8), np.uint8)).save(tmp_path / "c.png")
    with pytest.raises(VpauditError, match=r"c\.png has shape"):
        data.load_local(tmp_path)
    with pytest.raises(VpauditError, match="does not exist"):
        data.load_local(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(VpauditError, match="no images in"):
        data.load_local(tmp_path / "empty")


CONTENT = bytes([0, 0, 8, 1, 0, 0, 0, 4, 7, 8, 9, 10])  # IDX: four bytes in one dimension


@pytest.fixture
def toy(monkeypatch):
    """A data set of one file."""
    about = {"files": {"toy.gz": hashlib.sha256(CONTENT).hexdigest()}, "sources": []}
    monkeypatch.setattr(fetch, "card", lambda name: about)
    monkeypatch.delenv("VPAUDIT_MIRROR", raising=False)


@pytest.fixture
def server():
    """A server on loopback: /good/, /wrong/, /cut/; everything else is 404."""
    good = gzip.compress(CONTENT)
    bodies = {"/good/toy.gz": good, "/wrong/toy.gz": gzip.compress(b"other"), "/cut/toy.gz": good}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = bodies.get(self.path)
            if body is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[:-7] if self.path.startswith("/cut/") else body)

        def log_message(self, *arguments):
            pass

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()


def source(base, kind="https"):
    return {"kind": kind, "base": base}


def test_sources_are_tried_in_order_until_one_is_right(toy, server, tmp_path):
    sources = [source(f"{server}/{name}/") for name in ("none", "wrong", "cut", "good")]
    folder = fetch.fetch("toy", tmp_path, sources)
    assert read.read_idx(folder / "toy.gz", hashlib.sha256(CONTENT).hexdigest(), "toy").tolist() == [7, 8, 9, 10]
    assert [p.name for p in folder.iterdir()] == ["toy.gz"]


def test_every_failure_is_told_and_nothing_is_left(toy, server, tmp_path):
    sources = [source(f"{server}/{name}/") for name in ("none", "wrong", "cut")]
    with pytest.raises(VpauditError) as caught:
        fetch.fetch("toy", tmp_path, sources)
    text = str(caught.value)
    assert "HTTP 404" in text
    assert "expected" in text
    assert "cut" in text
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


@pytest.mark.parametrize("reply", [b"hello\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nabc"])
def test_a_broken_server_does_not_end_the_search(reply, toy, server, tmp_path):
    def answer(listener):
        connection, _ = listener.accept()
        connection.recv(4096)
        connection.sendall(reply)
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=answer, args=(listener,), daemon=True).start()
        broken = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        folder = fetch.fetch("toy", tmp_path, [source(broken), source(f"{server}/good/")])
    assert (folder / "toy.gz").exists()


def test_failing_tools_and_unknown_kinds_are_told(toy, tmp_path, monkeypatch):
    def slow(command, **settings):
        raise subprocess.TimeoutExpired(command, settings["timeout"])

    monkeypatch.setattr(subprocess, "run", slow)
    monkeypatch.setattr(fetch.shutil, "which", lambda tool: tool)
    package = {"kind": "debian", "package": "toy-package", "folder": "x", "sha256": "00"}
    with pytest.raises(VpauditError) as caught:
        fetch.fetch("toy", tmp_path, [package, source("x", "pigeon"), source(str(tmp_path / "nowhere"), "mirror")])
    assert "toy-package: apt-get took longer than 600 s" in str(caught.value)
    assert "'pigeon'" in str(caught.value)
    assert "toy.gz is not in" in str(caught.value)


def test_a_full_disk_ends_the_search(toy, tmp_path, monkeypatch):
    def full(url, path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fetch, "download", full)
    with pytest.raises(VpauditError, match=r"^no space left while writing"):
        fetch.fetch("toy", tmp_path, [source("a"), source("b")])
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


def parquet(split):
    """The shipped images as Hugging Face holds them: PNG bytes and labels."""
    images = data.load("fashion_mnist", split)
    rows = []
    for image in images.images[:20]:
        file = memory.BytesIO()
        Image.fromarray(image).save(file, "PNG")
        rows.append({"bytes": file.getvalue(), "path": None})
    out = memory.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"image": rows, "label": images.labels[:20]}), out)
    return out.getvalue(), images.images[:20], images.labels[:20].astype(np.uint8)


def test_hugging_face_parquet_becomes_the_official_idx(tmp_path, monkeypatch):
    bodies, about = {}, {"files": {}, "sources": []}
    for split, prefix in (("train", "train"), ("test", "t10k")):
        bodies[f"{split}-0.parquet"], images, labels = parquet(split)
        header = bytes([0, 0, 8, 3, 0, 0, 0, 20, 0, 0, 0, 28, 0, 0, 0, 28])
        for kind, content in (
            ("images-idx3", header + images.tobytes()),
            ("labels-idx1", bytes([0, 0, 8, 1, 0, 0, 0, 20]) + labels.tobytes()),
        ):
            about["files"][f"{prefix}-{kind}-ubyte.gz"] = hashlib.sha256(content).hexdigest()
    monkeypatch.setattr(fetch, "card", lambda name: about)
    monkeypatch.setattr(fetch, "download", lambda url, path: path.write_bytes(bodies[url.rsplit("/", 1)[-1]]))
    hub = {"kind": "huggingface", "base": "http://hub/", "file": "{split}-0.parquet"}
    folder = fetch.fetch("fashion_mnist", tmp_path, [hub])
    assert sorted(p.name for p in folder.iterdir()) == sorted(about["files"])
    bodies["test-0.parquet"] = b"not parquet"
    with pytest.raises(VpauditError, match=r"test-0\.parquet is not a Parquet file"):
        fetch.fetch("fashion_mnist", tmp_path / "again", [hub])


def test_every_source_of_every_card_can_be_opened():
    sources = data.card("fashion_mnist")["sources"]
    assert [s["kind"] for s in sources] == ["https", "https", "huggingface", "debian"]
    assert {s["kind"] for s in sources} <= set(fetch.OPENERS)


def test_right_files_are_not_fetched_again(toy, server, tmp_path):
    fetch.fetch("toy", tmp_path, [source(f"{server}/good/")])
    fetch.fetch("toy", tmp_path, [source("http://127.0.0.1:1/")])


def test_a_local_mirror(toy, tmp_path, monkeypatch):
    (tmp_path / "m" / "deep").mkdir(parents=True)
    (tmp_path / "m" / "deep" / "toy.gz").write_bytes(gzip.compress(CONTENT, 1))
    monkeypatch.setenv("VPAUDIT_MIRROR", str(tmp_path / "m"))
    assert (fetch.fetch("toy", tmp_path / "out") / "toy.gz").exists()


def test_truncated_idx_is_refused(tmp_path):
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(CONTENT)[:-6])
    with pytest.raises(VpauditError, match="truncated"):
        read.read_idx(path, hashlib.sha256(CONTENT).hexdigest(), "toy")
