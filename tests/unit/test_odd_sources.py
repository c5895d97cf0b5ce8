"""Sources as people have them: damaged archives, links, odd names, every layout of npz, deep and medical images.

Whatever is left out is named; nothing ends early without a word.
"""

import gzip
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vpaudit import data
from vpaudit.base import pixels
from vpaudit.base.errors import VpauditError
from vpaudit.data import medical

INPUTS = Path(__file__).parents[3] / "shared" / "inputs"


def noise(k=0, side=16, bits=8):
    return np.random.default_rng(k).integers(0, 2**bits, (side, side)).astype(np.uint8 if bits == 8 else np.uint16)


def save(folder, count=4, names="{}.png"):
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(count):
        Image.fromarray(noise(k)).save(folder / names.format(k), format="PNG")
    return folder


def tar_of(path, folder, mode="w"):
    with tarfile.open(path, mode) as archive:
        archive.add(folder, ".")
    return path


# ---------------------------------------------------------------- archives


def test_a_tar_with_a_damaged_header_is_not_read_to_there_alone(tmp_path):
    path = tar_of(tmp_path / "a.tar", save(tmp_path / "set", 8))
    with tarfile.open(path) as archive:
        offset = archive.getmembers()[4].offset
    content = bytearray(path.read_bytes())
    content[offset] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(VpauditError, match=rf"a\.tar is damaged or cut off \(behind byte {offset:,}\): \d files"):
        data.read_local(path, size=8)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz", "w:bz2"])
def test_a_tar_that_ends_early_is_named_wherever_it_is_cut(tmp_path, mode):
    path = tar_of(tmp_path / "a.tar", save(tmp_path / "set", 6), mode)
    content = path.read_bytes()
    for share in (0.3, 0.4, 0.6):  # behind that come the zeros of the end
        path.write_bytes(content[: 512 * int(share * len(content) / 512)])
        with pytest.raises(VpauditError, match=r"a\.tar (cannot be read|is damaged or cut off)"):
            data.read_local(path, size=8)


def test_a_tar_behind_a_tar_is_not_passed_over(tmp_path):
    path = tar_of(tmp_path / "a.tar", save(tmp_path / "set"))
    path.write_bytes(2 * path.read_bytes())
    with pytest.raises(VpauditError, match="damaged or cut off"):
        data.read_local(path, size=8)


@pytest.mark.parametrize("kind", ["gztar", "xztar", "bztar"])
def test_damage_in_the_middle_of_a_packed_tar_is_named(tmp_path, kind):
    path = Path(shutil.make_archive(str(tmp_path / "packed"), kind, save(tmp_path / "set", 30)))
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 40] = bytes(b ^ 0x5A for b in content[middle : middle + 40])
    path.write_bytes(content)
    with pytest.raises(VpauditError, match="packed"):
        data.read_local(path, size=8)


@pytest.mark.parametrize("name", ["A.ZIP", "A.Tar", "A.TGZ", "a.bin"])
def test_archives_are_known_whatever_their_name(tmp_path, name):
    kind = {"zip": "zip", "tar": "tar", "tgz": "gztar", "bin": "zip"}[name.lower().split(".")[1]]
    packed = shutil.make_archive(str(tmp_path / "packed"), kind, save(tmp_path / "set"))
    os.rename(packed, tmp_path / name)
    assert data.read_local(tmp_path / name, size=8).files == 4


def test_hard_links_in_a_tar_are_files(tmp_path):
    folder = save(tmp_path / "set")
    os.link(folder / "0.png", folder / "z.png")
    reading = data.read_local(tar_of(tmp_path / "a.tar", folder), size=8)
    assert (reading.files, len(reading.images)) == (5, 4)
    assert "duplicate" in dict(reading.skipped)["./z.png"]


# ---------------------------------------------------------------- folders


def test_links_are_followed_once_and_dead_ones_named(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "class_a").symlink_to(save(tmp_path / "elsewhere"), target_is_directory=True)
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    (folder / "dead.png").symlink_to(tmp_path / "nothing.png")
    (folder / "one.png").symlink_to(tmp_path / "elsewhere/1.png")
    reading = data.read_local(folder, size=8)
    assert sorted([*reading.names, *dict(reading.skipped)]) == [
        "class_a/0.png",
        "class_a/1.png",
        "class_a/2.png",
        "class_a/3.png",
        "one.png",
    ]
    assert dict(reading.passed) == {
        "dead.png": "a link that leads nowhere",
        "loop": "a link to a folder that was read already",
    }


def test_every_other_file_is_counted_and_named(tmp_path):
    folder = save(tmp_path / "set")
    for name in ("index.csv", "a.jxl", "raw.NEF", "Makefile", "._0.png"):
        (folder / name).write_bytes(b"II*\0 begins as a TIFF does")
    reading = data.read_local(folder, size=8)
    assert len(reading.images) == 4
    assert {name for name, _ in reading.passed} == {"a.jxl", "raw.NEF", "._0.png"}
    (folder / "index.csv").write_text("a,b")
    (folder / "Makefile").write_text("all:")
    reading = data.read_local(folder, size=8)
    assert {name for name, _ in reading.left_out()} == {"index.csv", "a.jxl", "raw.NEF", "Makefile", "._0.png"}
    assert "1 passed over: JPEG XL (.jxl) is not read, convert it" in reading.lines()
    assert "1 passed over: not an image (.csv)" in reading.lines()


def test_names_that_are_no_utf8_and_line_breaks_are_written_out(tmp_path):
    folder = save(tmp_path / "set", 2)
    os.rename(folder / "0.png", os.fsencode(folder) + b"/caf\xe9.png")
    os.rename(folder / "1.png", folder / "line\nbreak.png")
    for source in (folder, tar_of(tmp_path / "a.tar", folder)):
        names = [name.removeprefix("./") for name in data.read_local(source, size=8).names]
        assert names == [r"caf\xe9.png", r"line\nbreak.png"]
        "".join(names).encode()


def test_what_is_chosen_does_not_depend_on_the_folders_name(tmp_path):
    chosen = []
    for name in ("a", "other name"):
        found = data.load_local(save(tmp_path / name, 30), size=8)
        chosen.append(data.select(found, 7, seed=1).ids.tolist())
    assert chosen[0] == chosen[1]


@pytest.mark.parametrize("source", ["", "  "])
def test_an_empty_name_is_not_the_current_folder(source, tmp_path, monkeypatch):
    monkeypatch.chdir(save(tmp_path / "set"))
    with pytest.raises(VpauditError, match="the name is empty"):
        data.read_local(source, size=8)


def test_what_the_square_leaves_out_is_told(tmp_path):
    folder = save(tmp_path / "set", 1)
    Image.fromarray(np.tile(noise(3), (1, 100))).save(folder / "panorama.png")
    assert (
        "the centred squares leave out 50 % of an image on average, 99 % at most"
        in data.read_local(folder, size=8).lines()
    )
    assert not [line for line in data.read_local(save(tmp_path / "square"), size=8).lines() if "leave out" in line]


# ---------------------------------------------------------------- npz


X = np.stack([noise(k, 8) for k in range(6)])
C = np.stack([X, X[::-1], X], axis=3)


@pytest.mark.parametrize(
    ("arrays", "images", "note"),
    [
        ({"x": X}, X, ""),
        ({"X": X}, X, "images taken from X"),
        ({"arr_0": X}, X, "images taken from arr_0"),
        ({"train_images": X, "train_labels": np.arange(6)}, X, "images taken from train_images"),
        ({"x_train": X[:2], "x_test": X}, X, ""),
        ({"x": X[..., None]}, X, ""),
        ({"x": C}, C, ""),
        ({"x": np.moveaxis(C, 3, 1)}, C, "channels first, moved last"),
        ({"x": X[:, None]}, X, "channels first, moved last"),
        ({"x": X / 255}, X, "float64 values from 0"),
        ({"x": (X / 127.5 - 1).astype(np.float32)}, X, "taken for [-1, 1]"),
        ({"x": X.astype(np.float32)}, X, "taken for [0, 255]"),
        ({"x": X.astype(np.int64)}, X, "taken for [0, 255]"),
        ({"x": X.astype(np.uint16) * 16 + 15}, X, "taken for [0, 4095]"),
        ({"x": X > 99}, (X > 99) * np.uint8(255), "bool"),
    ],
)
def test_layouts_of_npz_that_are_unambiguous_are_read(tmp_path, arrays, images, note):
    np.savez(tmp_path / "a.NPZ.tmp", **arrays)
    os.rename(tmp_path / "a.NPZ.tmp.npz", tmp_path / "a.NPZ")
    reading = data.read_local(tmp_path / "a.NPZ")
    assert np.abs(reading.images.images.astype(int) - images).max() <= 1
    assert note in "\n".join(reading.remarks)
    assert note or not reading.remarks


@pytest.mark.parametrize(
    ("arrays", "word"),
    [
        ({"a": X, "b": X}, r"several arrays of images: a \(uint8 of shape \(6, 8, 8\)\), b"),
        ({"x": X.reshape(6, -1)}, r"no array of images: x \(uint8 of shape \(6, 64\)\)"),
        ({"x": np.array([None, 1])}, r"x \(pickled objects\)"),
        ({"x": X[:0]}, "no array of images"),
        ({}, "no array of images: nothing"),
        ({"x": X / 255 * 5 - 2.5}, "float64 from -2.5 to 2.5"),
        ({"x": np.where(X > 99, np.nan, 0.5)}, "float64 from nan to nan"),
        ({"x": X.astype(np.int64) << 20}, "a range that means no known image"),
    ],
)
def test_layouts_of_npz_that_are_not_are_refused_by_name(tmp_path, arrays, word):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(VpauditError, match=word):
        data.read_local(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("labels", "numbers", "names"),
    [
        (np.array([[3], [1], [0], [3], [1], [0]]), [3, 1, 0, 3, 1, 0], ("0", "1", "2", "3")),
        (np.eye(3)[[2, 1, 0, 2, 1, 0]], [2, 1, 0, 2, 1, 0], ("0", "1", "2")),
        (np.array(["cat", "dog"] * 3), [0, 1] * 3, ("cat", "dog")),
        (np.array([b"cat", b"\xe9"] * 3), [0, 1] * 3, ("cat", "\ufffd")),
        (np.array([2**33, 5, -1] * 2), [2, 1, 0] * 2, ("-1", "5", "8589934592")),
        (np.array([1.0, 2.0, 2.0] * 2), [0, 1, 1] * 2, ("1.0", "2.0")),
    ],
)
def test_labels_of_every_kind(tmp_path, labels, numbers, names):
    np.savez(tmp_path / "a.npz", x=X, y=labels)
    images = data.load_local(tmp_path / "a.npz")
    assert images.labels.tolist() == numbers
    assert images.class_names == names


@pytest.mark.parametrize(
    "labels", [np.arange(5), np.ones((6, 2, 2)), np.array([None] * 6), np.full(6, np.nan), np.array(3)]
)
def test_labels_that_are_not_the_images_are_left_out_and_no_image_is(tmp_path, labels):
    np.savez(tmp_path / "a.npz", x=X, y=labels)
    reading = data.read_local(tmp_path / "a.npz")
    assert len(reading.images) == 6
    assert set(reading.images.labels) == {-1}
    assert "labels y left out" in "\n".join(reading.lines())
    with pytest.raises(VpauditError, match="labels y left out"):
        data.load_local(tmp_path / "a.npz")


def test_a_member_that_is_no_array_is_named(tmp_path):
    import zipfile

    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", b"not an array")
    with pytest.raises(VpauditError, match=r"x \(no array\)"):
        data.read_local(tmp_path / "a.npz")


# ---------------------------------------------------------------- depth and formats


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_values_of_few_bits_in_16_are_seen(tmp_path, bits, kind):
    """A source's images are scaled alike: one that is dark stays dark."""
    deep = [noise(k, 16, 8).astype(np.uint16) << (bits - 8) for k in range(3)]
    deep.append(deep[0] // 4)
    for k, values in enumerate(deep):
        Image.fromarray(values).save(tmp_path / f"{k}.{kind}")
    reading = data.read_local(tmp_path, size=16, grey=True)
    for seen, values in zip(reading.images.images, deep):
        assert np.abs(seen - values * (255.0 / (2**bits - 1))).max() <= 0.51
    assert f"4 16 bits a channel, of which {bits} are in use, scaled to 8" in reading.lines()


def test_the_whole_of_16_bits_is_scaled_by_257(tmp_path):
    values = np.array([[0, 65535], [257, 32896]], np.uint16).repeat(4, 0).repeat(4, 1)
    Image.fromarray(values).save(tmp_path / "0.png")
    assert np.array_equal(data.read_local(tmp_path, size=8).images.images[0], values // 257)


@pytest.mark.parametrize("suffix", ["ppm", "pgm", "avif", "jp2", "heic"])
def test_formats_of_the_field_are_read(tmp_path, suffix):
    smooth = np.add.outer(np.arange(0, 128, 4), np.arange(0, 128, 4)).astype(np.uint8)
    if suffix == "heic":
        pytest.importorskip("pillow_heif").register_heif_opener()
    Image.fromarray(smooth).convert("L" if suffix == "pgm" else "RGB").save(tmp_path / f"a.{suffix}")
    found = data.read_local(tmp_path, size=32, grey=True)
    assert np.abs(found.images.images[0].astype(int) - smooth).mean() < 4
    assert not found.notes


def test_16_bits_of_a_pgm(tmp_path):
    values = noise(1, 8, 16)
    (tmp_path / "a.pgm").write_bytes(b"P5 8 8 65535\n" + values.astype(">u2").tobytes())
    found = data.read_local(tmp_path, size=8, grey=True).images.images[0]
    assert np.abs(found - values / 257).max() <= 0.51


def dicom(path, values, **settings):
    pydicom = pytest.importorskip("pydicom")
    about = pydicom.Dataset()
    about.file_meta = pydicom.dataset.FileMetaDataset()
    about.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    about.file_meta.MediaStorageSOPClassUID = about.SOPClassUID = pydicom.uid.CTImageStorage
    about.file_meta.MediaStorageSOPInstanceUID = about.SOPInstanceUID = pydicom.uid.generate_uid()
    about.Rows, about.Columns = values.shape
    about.BitsAllocated, about.BitsStored, about.HighBit, about.SamplesPerPixel = 16, 12, 11, 1
    about.PixelRepresentation, about.PhotometricInterpretation = 0, "MONOCHROME2"
    about.PixelData = values.astype("<u2").tobytes()
    for key, value in settings.items():
        setattr(about, key, value)
    about.save_as(path, enforce_file_format=True)


def test_dicom_is_seen_through_its_window(tmp_path):
    values = np.linspace(0, 4095, 256).reshape(16, 16).astype(np.uint16)
    dicom(tmp_path / "scan", values, WindowCenter=40, WindowWidth=400, RescaleSlope=1, RescaleIntercept=-1024)
    reading = data.read_local(tmp_path, size=16, grey=True)
    expected = ((values - 1024.0) - (40 - 200)) / 399 * 255
    assert np.abs(reading.images.images[0] - expected.clip(0, 255)).max() <= 0.51
    assert "1 DICOM, as its window shows it" in reading.lines()


def test_dicom_without_a_window_and_inverted(tmp_path):
    values = np.linspace(100, 900, 256).reshape(16, 16).astype(np.uint16)
    dicom(tmp_path / "a.dcm", values, PhotometricInterpretation="MONOCHROME1")
    found = data.read_local(tmp_path, size=16, grey=True).images.images[0]
    assert np.abs(found - (900.0 - values) / 800 * 255).max() <= 1


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_slices_of_a_volume_are_images(tmp_path, name):
    nibabel = pytest.importorskip("nibabel")
    volume = np.random.default_rng(0).normal(size=(16, 16, 5)).astype(np.float32)
    volume[:, :, 2] = volume.min()
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), tmp_path / name)
    reading = data.read_local(tmp_path, size=16, grey=True)
    assert reading.names == [f"{name}:{k:03d}" for k in (0, 1, 3, 4)]
    assert "blank" in dict(reading.skipped)[f"{name}:002"]
    low, high = np.percentile(volume, medical.SPREAD)
    expected = np.rot90(((volume[:, :, 3] - low) / (high - low) * 255).clip(0, 255))
    assert np.abs(reading.images.images[2] - expected).max() <= 0.51


def test_a_damaged_volume_and_a_missing_reader_are_named(tmp_path, monkeypatch):
    save(tmp_path, 1)
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(b"short"))
    dicom(tmp_path / "b.dcm", noise(1).astype(np.uint16))
    skipped = dict(data.read_local(tmp_path, size=8, grey=True).skipped)
    assert skipped["a.nii.gz"].startswith("damaged or truncated")
    for package in ("pydicom", "nibabel"):
        monkeypatch.setitem(sys.modules, package, None)
    skipped = dict(data.read_local(tmp_path, size=8, grey=True).skipped)
    assert skipped["a.nii.gz"] == "NIfTI is not read here: pip install 'vpaudit[medical]'"
    assert skipped["b.dcm"] == "DICOM is not read here: pip install 'vpaudit[medical]'"


# ---------------------------------------------------------------- inputs of other people's reports

MEANT = {  # (usable, files) or the error's words
    "a01.tar": "damaged or cut off", "a02.npz": 8, "a03.npz": 8, "a04.npz": 8, "a05.npz": 8, "a07_folder.tar": 6,
    "a08_folder.tar": 9, "a09_folder.tar": 8, "a10_folder.tar": 9, "a11.tar.xz": "cannot be read",
    "a14.npz": r"x \(no array\)",
}  # fmt: skip


@pytest.mark.skipif(not INPUTS.exists(), reason="../shared/inputs is not here: small files that went wrong")
@pytest.mark.parametrize("name", MEANT)
def test_inputs_that_went_wrong(name, tmp_path):
    source = INPUTS / name
    if "_folder" in name:
        subprocess.run(["tar", "xf", source, "-C", tmp_path], check=True)
        source = tmp_path
    if isinstance(MEANT[name], str):
        with pytest.raises(VpauditError, match=MEANT[name]):
            data.read_local(source, size=28, grey=True)
        return
    reading = data.read_local(source, size=28, grey=True)
    assert len(reading.images) == MEANT[name]
    assert 60 < reading.images.images.mean() < 200
    assert pixels.from_uint8(reading.images.images).shape[1:] == (1, 28, 28)
