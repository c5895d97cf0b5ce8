"""Images from folders, archives and npz, and cards of local archives: the same images, or an error that names them."""

import io
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vpaudit import data
from vpaudit.base import pixels
from vpaudit.base.errors import VpauditError
from vpaudit.data import overlap
from vpaudit.data.decode import decode, fit


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
    np.savez(tmp_path / "b.npz", x=x.astype(np.float32) - 3)
    with pytest.raises(VpauditError, match="float32 from -3 to 124"):
        data.load_local(tmp_path / "b.npz")
    (tmp_path / "c.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:200])
    with pytest.raises(VpauditError, match="cannot be read"):
        data.load_local(tmp_path / "c.npz")


def strips(path, labels=6):
    """A zip of two strips of three images, whose red channel holds their place."""
    with zipfile.ZipFile(path, "w") as archive:
        for k in range(2):
            tall = np.zeros((3, 8, 8, 3), np.uint8)
            tall[..., 0] = np.arange(3 * k, 3 * k + 3)[:, None, None]
            content = io.BytesIO()
            Image.fromarray(tall.reshape(24, 8, 3)).save(content, "WEBP", lossless=True)
            archive.writestr(f"strip_{k:03d}.webp", content.getvalue())
        rows = [f"{k},{k % 2},{'even' if k % 2 == 0 else 'odd'}" for k in range(labels)]
        archive.writestr("labels.csv", "\n".join(["index,label,class", *rows]))
    return path


def test_strips_are_cut_into_their_images(tmp_path):
    images = data.load_local(strips(tmp_path / "a.zip"))
    assert images.images.shape == (6, 8, 8, 3)
    assert images.images[:, 0, 0, 0].tolist() == list(range(6))
    assert images.labels.tolist() == [0, 1] * 3
    with pytest.raises(VpauditError, match="6 images and 5 labels"):
        data.load_local(strips(tmp_path / "b.zip", labels=5))


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
        ("cifar10_test_9000_lossless.zip", {"grey": True}, (9000, 32, 32), 10),
        ("faces_64.zip", {"under": "val"}, (1648, 64, 64, 3), 1),
        ("chest_xray_64.npz", {"under": "val"}, (543, 64, 64), 3),
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
    assert train.images.shape == (40_000, 32, 32, 3)
    assert test.images.shape == (9000, 32, 32, 3)
    assert np.bincount(train.labels).min() > 3900
    assert [test.class_names[k] for k in test.labels[:5]] == ["deer", "ship", "dog", "frog", "automobile"]  # labels.csv
    assert overlap.examine(test, train, {})["found"] == []


@pytest.mark.skipif(not SHARED.exists(), reason="../shared/data is not here: chest X-rays, faces, photographs")
@pytest.mark.parametrize("name", ["chest_xray_64_local", "faces_64_local", "photos_256_local", "celebahq_256_local"])
def test_cards_say_the_shape_of_their_images(name):
    about = data.card(name)
    for split in about["local"]:
        images = data.load(name, split)
        assert list(pixels.from_uint8(images.images[:1]).shape[1:]) == about["shape"]
        assert images.labels.max() < len(images.class_names)


def test_a_local_archive_that_is_not_here_is_looked_for_and_named(tmp_path, monkeypatch):
    monkeypatch.setenv("VPAUDIT_HOME", str(tmp_path / "nowhere" / "working-copy"))
    monkeypatch.setenv("VPAUDIT_DATA", str(tmp_path))
    with pytest.raises(VpauditError, match=r"(?s)cifar10_test_9000_lossless\.zip is in none of .*VPAUDIT_DATA"):
        data.load("cifar10_local", "test")
    (tmp_path / "cifar10_test_9000_lossless.zip").write_bytes(b"other")
    with pytest.raises(VpauditError, match="truncated or altered"):
        data.load("cifar10_local", "test")


# ---------------------------------------------------------------- large photographs

PEAK = """
import resource, sys
from vpaudit import data
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
eval(sys.argv[1])
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**10)
"""


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """A photograph of 12 megapixels as often as eight times: 36 MB each, decoded."""
    folder = tmp_path_factory.mktemp("photographs")
    small = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(small).resize((4000, 3000), Image.Resampling.BICUBIC).save(folder / "0.jpg")
    for k in range(1, 8):
        shutil.copyfile(folder / "0.jpg", folder / f"{k}.jpg")
    return folder


@pytest.mark.parametrize(("call", "most"), [("read_local({!r}, 64, colour=True)", 40), ("usual_side({!r})", 180)])
def test_large_photographs_are_read_one_at_a_time_in_little_memory(photographs, call, most):
    """In MiB; all eight at once take 270 and more."""
    command = [sys.executable, "-c", PEAK, f"data.{call.format(str(photographs))}"]
    assert float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1]) < most


def test_a_large_photograph_looks_as_if_it_was_decoded_whole(photographs):
    found = data.read_local(photographs, 64, colour=True)
    assert list(found.notes) == ["a large JPEG, decoded at a part of its size before it was resized"]
    with Image.open(photographs / "0.jpg") as image:
        whole = fit(image.convert("RGB"), 64).astype(int)
    assert np.abs(found.images.images[0] - whole).mean() < 1
    content = (photographs / "0.jpg").read_bytes()
    assert not decode(content, ".jpg", 1000, colour=True).notes  # which would need more than a half leaves
