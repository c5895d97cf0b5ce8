"""Images from folders, archives and npz, and cards of local archives: the same images, or an error that names them."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vpaudit import data
from vpaudit.base.errors import VpauditError
from vpaudit.data import read


def coloured(folder, sizes=((20, 12), (16, 16))):
    """Two classes of one image each, of other sizes, as PNG and WebP."""
    for k, (width, height) in enumerate(sizes):
        place = folder / "test" / f"class_{k}"
        place.mkdir(parents=True)
        ramp = np.zeros((height, width, 3), np.uint8)
        ramp[..., k] = np.linspace(0, 255, width).astype(np.uint8)
        Image.fromarray(ramp).save(place / ("a.png" if k == 0 else "b.webp"), lossless=True)
    return folder


@pytest.mark.parametrize("kind", ["folder", "zip", "tar", "tar.gz"])
def test_folders_and_archives_give_the_same_images(tmp_path, kind):
    source = coloured(tmp_path / "set")
    if kind != "folder":
        form = {"zip": "zip", "tar": "tar", "tar.gz": "gztar"}[kind]
        source = Path(shutil.make_archive(str(tmp_path / "packed"), form, source))
    images = data.load_local(source, size=8)
    assert images.images.shape == (2, 8, 8, 3)
    assert images.class_names == ("class_0", "class_1")
    assert images.labels.tolist() == [0, 1]
    assert images.images[0, :, :, 0].mean() == pytest.approx(127, abs=3)  # the centred square of a ramp is centred
    assert data.load_local(source, size=8, grey=True).images.shape == (2, 8, 8)
    assert len(data.load_local(source, size=8, under="test/class_1")) == 1
    with pytest.raises(VpauditError, match=r"set data\.size"):
        data.load_local(source)
    with pytest.raises(VpauditError, match="under 'train'"):
        data.load_local(source, under="train")


def test_crop_is_centred_and_nothing_is_stretched(tmp_path):
    wide = np.zeros((8, 24), np.uint8)
    wide[:, 8:16] = 200
    Image.fromarray(wide).save(tmp_path / "wide.png")
    assert (data.load_local(tmp_path, size=8).images == 200).all()


def test_npz_of_images(tmp_path):
    x = np.arange(2 * 8 * 8, dtype=np.uint8).reshape(2, 8, 8)
    np.savez(tmp_path / "a.npz", x=x, y=np.array([3, 1]))
    images = data.load_local(tmp_path / "a.npz")
    assert np.array_equal(images.images, x)
    assert images.labels.tolist() == [3, 1]
    assert data.load_local(tmp_path / "a.npz", size=4).images.shape == (2, 4, 4)
    np.savez(tmp_path / "b.npz", x=x.astype(np.float32))
    with pytest.raises(VpauditError, match="float32 of shape"):
        data.load_local(tmp_path / "b.npz")
    (tmp_path / "c.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:200])
    with pytest.raises(VpauditError, match="cannot be read"):
        data.load_local(tmp_path / "c.npz")


def test_truncated_archives_are_named(tmp_path):
    whole = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", coloured(tmp_path / "set")))
    broken = tmp_path / "broken.zip"
    broken.write_bytes(whole.read_bytes()[:100])
    with pytest.raises(VpauditError, match=r"broken\.zip cannot be read"):
        data.load_local(broken, size=8)
    (tmp_path / "a.7z").write_bytes(b"7z")
    with pytest.raises(VpauditError, match="not a folder, zip, tar or npz"):
        data.load_local(tmp_path / "a.7z")


SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.mark.skipif(not SHARED.exists(), reason="../shared/data is not here: real CelebA-HQ, ImageNet, CIFAR-10 images")
@pytest.mark.parametrize(
    ("file", "options", "shape", "classes"),
    [
        ("celebahq_256.zip", {}, (48, 256, 256, 3), 1),
        ("imagenet_256.zip", {"size": 64}, (160, 64, 64, 3), 1),
        ("cifar10_jpeg_46000_10000.zip", {"under": "test/airplane"}, (1000, 32, 32, 3), 1),
        ("cifar10_lossless_3200.npz", {"grey": True}, (3200, 32, 32), 10),
        ("mnist_10k.npz", {"size": 32}, (10_000, 32, 32), 10),
    ],
)
def test_real_archives(file, options, shape, classes):
    images = data.load_local(SHARED / file, **options)
    assert images.images.shape == shape
    assert len(images.class_names) == classes
    assert 20 < images.images.mean() < 200


@pytest.mark.skipif(not SHARED.exists(), reason="../shared/data is not here: a local copy of CIFAR-10")
def test_cards_of_local_archives():
    train, test = (data.load("cifar10_local", split) for split in ("train", "test"))
    assert train.images.shape == (46_000, 32, 32, 3)
    assert test.images.shape == (3200, 32, 32, 3)
    assert np.bincount(train.labels).min() > 4500
    assert test.labels[:5].tolist() == [6, 9, 9, 4, 1]  # frog, truck, truck, deer, automobile: the official order
    assert train.class_names[6] == "frog"


def test_a_local_archive_that_is_not_here_is_looked_for_and_named(tmp_path, monkeypatch):
    monkeypatch.setattr(read, "ROOT", tmp_path / "nowhere" / "repository")
    monkeypatch.setenv("VPAUDIT_DATA", str(tmp_path))
    with pytest.raises(VpauditError, match=r"(?s)cifar10_lossless_3200\.npz is in none of .*VPAUDIT_DATA"):
        data.load("cifar10_local", "test")
    (tmp_path / "cifar10_lossless_3200.npz").write_bytes(b"other")
    with pytest.raises(VpauditError, match="truncated or altered"):
        data.load("cifar10_local", "test")
