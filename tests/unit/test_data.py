"""Loading, selecting and fetching images: verified, named when wrong, never half-written."""

import gzip
import hashlib
import http.server
import threading

import numpy as np
import pytest
from PIL import Image

from vpaudit import data
from vpaudit.data import fetch, read
from vpaudit.errors import VpauditError


def test_shipped_images_are_the_first_of_each_split():
    train, test = (data.load("fashion_mnist", split) for split in ("train", "test"))
    assert train.images.shape == (6000, 28, 28)
    assert test.images.shape == (2000, 28, 28)
    assert train.labels[:5].tolist() == [9, 0, 0, 3, 0]  # as published
    assert test.labels[:5].tolist() == [9, 2, 1, 1, 6]


def test_no_test_image_is_among_the_training_images():
    """Of the shipped subset here; of all 70,000 where they have been fetched."""
    full = (read.FULL / "fashion_mnist" / "train-images-idx3-ubyte.gz").exists()
    train, test = (data.load("fashion_mnist", split, full=full) for split in ("train", "test"))

    def digests(images):
        return {hashlib.sha256(image.tobytes()).digest() for image in images.images}

    shared = digests(train) & digests(test)
    assert not shared


def test_training_reads_the_train_split_alone(monkeypatch, tmp_path):
    """What the prior stage hands to the trainer is the train split; test images reach only the card's held-out loss."""
    from vpaudit import config as configuration
    from vpaudit.layout import Layout
    from vpaudit.priors import card, train
    from vpaudit.stages import images as stage

    asked, given = [], {}
    real = data.load

    def spy(name, split, full=False):
        asked.append((split, full))
        return real(name, split, full)

    class Recorder:
        step = 0

        def __init__(self, images, labels, *rest):
            given["images"] = images

        def resume(self):
            return False

        def run(self, until):
            pass

    monkeypatch.setattr(data, "load", spy)
    monkeypatch.setattr(train, "Trainer", Recorder)
    monkeypatch.setattr(card, "export", lambda trainer, folder, held_out, about: given.update(held_out=held_out))
    config = configuration.resolve({"study": "t", "data": {"name": "digits", "images": 10}})
    stage.prior(config, Layout(config))
    assert asked == [("train", True), ("test", False)]
    assert len(given["images"]) == 1297
    trained = {image.numpy().tobytes() for image in given["images"]}
    assert sum(image.numpy().tobytes() in trained for image in given["held_out"]) == 0


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


def test_folder_of_images(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("b.png", "a.png"):
        Image.fromarray(rng.integers(0, 255, (8, 8), dtype=np.uint8)).save(tmp_path / name)
    images = data.load_folder(tmp_path)
    assert images.images.shape == (2, 8, 8)
    (tmp_path / "c.png").write_text("not an image")
    with pytest.raises(VpauditError, match=r"c\.png is not a readable image"):
        data.load_folder(tmp_path)
    Image.fromarray(np.zeros((9, 8), np.uint8)).save(tmp_path / "c.png")
    with pytest.raises(VpauditError, match=r"c\.png has shape"):
        data.load_folder(tmp_path)
    with pytest.raises(VpauditError, match="no PNG"):
        data.load_folder(tmp_path / "nothing")


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
