"""Images as people's folders hold them: each is brought to 8-bit pixels and said, or left out by name."""

import io
import struct
import tarfile
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from vpaudit import data
from vpaudit.base.errors import VpauditError
from vpaudit.data import local


def ramp(width=20, height=16, shift=0):
    """Grey values from left to right, uint8 (height, width)."""
    return (np.tile(np.linspace(0, 250, width), (height, 1)) + shift).astype(np.uint8)


def colour(width=20, height=16, shift=0):
    return Image.fromarray(np.stack([ramp(width, height, shift), *[ramp(width, height)[:, ::-1]] * 2], axis=2))


def png_header(width, height, depth=8, kind=0, rows=b"\0" * 100):
    """A PNG that says it is so large, and holds these rows."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def saved(path, image, **options):
    image.save(path, **options)
    return path


def one(folder, size=8, grey=True):
    """The only image of a folder, beside what was noted of it."""
    reading = data.read_local(folder, size=size, grey=grey)
    assert len(reading.images) == 1, reading.skipped
    return reading.images.images[0], set(reading.notes)


def test_16_bits_are_scaled(tmp_path):
    deep = np.tile(np.arange(16, dtype=np.uint16) * 4369, (16, 1))
    saved(tmp_path / "a.png", Image.fromarray(deep))
    pixels, notes = one(tmp_path, size=16)
    assert pixels[0].tolist() == list(range(0, 256, 17))
    assert notes == {"16 bits a channel, scaled to 8"}


def test_16_bits_in_colour_are_said(tmp_path):
    """Pillow writes no such file: a PNG by hand, of one colour a column."""
    width, rows = 8, b""
    for _ in range(8):
        rows += b"\0" + b"".join(struct.pack(">HHH", 256 * k, 256 * 10 * k, 65535) for k in range(width))
    (tmp_path / "a.png").write_bytes(png_header(8, 8, depth=16, kind=2, rows=rows))
    picture = local.decode((tmp_path / "a.png").read_bytes(), ".png")
    assert picture.pixels[0].tolist() == [[k, 10 * k, 255] for k in range(8)]
    assert picture.notes == ("16 bits a channel, scaled to 8",)


@pytest.mark.parametrize(("kind", "dtype"), [("tif", np.int32), ("tiff", np.float32)])
def test_32_bits_are_refused(tmp_path, kind, dtype):
    saved(tmp_path / f"a.{kind}", Image.fromarray(ramp().astype(dtype)))
    saved(tmp_path / "good.png", colour())
    assert "32 bits a channel" in dict(data.read_local(tmp_path).skipped)[f"a.{kind}"]


def test_cmyk_is_brought_to_rgb(tmp_path):
    saved(tmp_path / "a.jpg", Image.new("CMYK", (16, 16), (0, 255, 255, 0)).convert("CMYK"), quality=100)
    red = np.asarray(Image.open(tmp_path / "a.jpg").convert("RGB"))[0, 0]
    assert red[0] > 200 > 60 > red[1]
    picture = local.decode((tmp_path / "a.jpg").read_bytes(), ".jpg", 8)
    assert np.abs(picture.pixels.astype(int) - red).max() <= 2
    assert picture.notes == ("CMYK, brought to RGB without a colour profile",)


@pytest.mark.parametrize("mode", ["LA", "RGBA", "P"])
def test_transparent_is_laid_on_white(tmp_path, mode):
    """Left half black and opaque, right half black and clear: after laying it on white, black and white."""
    alpha = np.zeros((16, 16), np.uint8)
    alpha[:, :8] = 255
    layers = Image.merge("LA", [Image.new("L", (16, 16), 0), Image.fromarray(alpha)])
    if mode == "P":
        image = Image.fromarray((alpha == 0).astype(np.uint8), "P")
        image.putpalette([0, 0, 0, 0, 0, 0])
        saved(tmp_path / "a.png", image, transparency=1)
    else:
        saved(tmp_path / "a.png", layers.convert(mode))
    pixels, notes = one(tmp_path, size=16)
    assert (pixels[:, :8] == 0).all()
    assert (pixels[:, 8:] == 255).all()
    assert notes == {"transparent, laid on white"}


def test_an_alpha_channel_that_hides_nothing_is_no_note(tmp_path):
    saved(tmp_path / "a.png", colour().convert("RGBA"))
    assert one(tmp_path)[1] == set()


def test_exif_orientation_turns(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise when shown
    saved(tmp_path / "a.png", Image.fromarray(ramp(16, 16)), exif=exif)
    pixels, notes = one(tmp_path, size=16)
    assert np.array_equal(pixels, np.rot90(ramp(16, 16), -1))
    assert notes == {"turned as its EXIF data say"}


@pytest.mark.parametrize("kind", ["gif", "webp", "png", "tiff"])
def test_of_several_frames_the_first(tmp_path, kind):
    first, second = Image.fromarray(ramp(16, 16)), Image.new("L", (16, 16), 255)
    options = {"lossless": True} if kind == "webp" else {}
    saved(tmp_path / f"a.{kind}", first, save_all=True, append_images=[second], **options)
    pixels, notes = one(tmp_path, size=16)
    assert np.abs(pixels.astype(int) - ramp(16, 16)).max() <= 1
    assert notes == {"several frames, the first taken"}


@pytest.mark.parametrize("name", ["a.png", "a.txt", "no_suffix"])
def test_a_wrong_extension_is_decoded_by_content(tmp_path, name):
    saved(tmp_path / name, Image.fromarray(ramp(16, 16)), format="BMP")
    (tmp_path / "notes.txt").write_text("not an image, and not named as one")
    pixels, notes = one(tmp_path, size=16)
    assert np.array_equal(pixels, ramp(16, 16))
    assert notes == ({"wrong file name extension, decoded by content"} if "." in name else set())


BAD = {
    "empty.png": (b"", "not an image"),
    "text.jpg": (b"not an image at all", "not an image"),
    "bomb.png": (png_header(20_000, 20_000), "pixels"),
    "half_a_bomb.png": (png_header(10_000, 10_000), "10000×10000"),
    "dot.png": (png_header(1, 1), "too small: 1×1"),
}


def folder_of_bad_ones(folder):
    """Every kind of bad image, three good ones, and duplicates of one of these in another format."""
    folder.mkdir()
    for name, (content, _) in BAD.items():
        (folder / name).write_bytes(content)
    buffer = io.BytesIO()
    colour(200, 200).save(buffer, "PNG")
    (folder / "cut.png").write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    buffer = io.BytesIO()
    colour(200, 200).save(buffer, "JPEG")
    (folder / "cut.jpg").write_bytes(buffer.getvalue()[:-400])
    saved(folder / "flat.png", Image.new("L", (16, 16), 9))
    for k in range(3):
        saved(folder / f"good_{k}.png", colour(shift=k))
    saved(folder / "good_1_again.bmp", colour(shift=1))
    (folder / "sub").mkdir()
    saved(folder / "sub" / "good_1_again.webp", colour(shift=1), lossless=True)
    return folder


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_bad_ones_are_listed_and_the_rest_is_read(tmp_path, kind):
    source = folder_of_bad_ones(tmp_path / "mixed")
    if kind == "zip":
        with zipfile.ZipFile(tmp_path / "mixed.zip", "w") as archive:
            for path in sorted(source.rglob("*.*")):
                archive.write(path, path.relative_to(source))
        source = tmp_path / "mixed.zip"
    elif kind == "tar":
        with tarfile.open(tmp_path / "mixed.tar", "w") as archive:
            archive.add(source, ".")
        source = tmp_path / "mixed.tar"
    reading = data.read_local(source, size=8)
    assert len(reading.images) == 3
    assert len(reading.images) + len(reading.skipped) == reading.files == reading.looked_at == len(BAD) + 8
    reasons = {name.removeprefix("./"): reason for name, reason in reading.skipped}
    for name, (_, word) in BAD.items():
        assert word in reasons[name], name
    assert reasons["cut.png"].startswith("damaged or truncated")
    assert reasons["cut.jpg"].startswith("damaged or truncated")
    assert reasons["flat.png"].startswith("blank")
    assert sum(reason.startswith("duplicate") for reason in reasons.values()) == 2
    lines = reading.lines()
    assert lines[:2] == [f"{len(BAD) + 8} image files", "3 usable"]
    assert "2 left out: duplicate" in lines
    assert not any("good" in line for line in lines)  # counts name no file


def test_the_bomb_is_refused_before_it_is_decoded(monkeypatch):
    def never(*_, **__):
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", never)
    for side in (20_000, 10_000):
        with pytest.raises(local.Unusable, match="pixels"):
            local.decode(png_header(side, side), ".png")


def test_ids_do_not_move_when_others_are_left_out(tmp_path):
    """An image's noise is keyed by its id."""
    source = folder_of_bad_ones(tmp_path / "mixed")
    names = sorted(p.relative_to(source).as_posix() for p in source.rglob("*.*"))
    ids = data.read_local(source, size=8).images.ids.tolist()
    assert [names[i] for i in ids] == ["good_0.png", "good_1.png", "good_2.png"]


def test_a_card_of_a_data_set_stops_at_the_first_bad_image(tmp_path):
    with pytest.raises(VpauditError, match=r"bomb\.png is not usable"):
        data.load_local(folder_of_bad_ones(tmp_path / "mixed"), size=8)


def test_of_very_many_a_random_choice_is_looked_at(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (50, 8, 8), np.uint8)
    np.savez(tmp_path / "a.npz", x=x)
    reading, again = (data.read_local(tmp_path / "a.npz", most=20, seed=3) for _ in range(2))
    assert (reading.files, reading.looked_at, len(reading.images)) == (50, 20, 20)
    assert np.array_equal(reading.images.images, x[reading.images.ids])
    assert np.array_equal(reading.images.ids, again.images.ids)
    assert not np.array_equal(reading.images.ids, data.read_local(tmp_path / "a.npz", most=20, seed=4).images.ids)


def test_nothing_usable_and_nothing_at_all_are_errors(tmp_path):
    with pytest.raises(VpauditError, match="no images in"):
        data.read_local(tmp_path)
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(VpauditError, match=r"no usable image in .*a\.png: not an image"):
        data.read_local(tmp_path)


def test_grey_and_colour_are_brought_to_one(tmp_path):
    saved(tmp_path / "a.png", Image.fromarray(ramp()))
    saved(tmp_path / "b.png", colour())
    assert data.read_local(tmp_path, size=8, colour=True).images.images.shape == (2, 8, 8, 3)
    assert data.read_local(tmp_path, size=8, grey=True).images.images.shape == (2, 8, 8)
    with pytest.raises(VpauditError, match=r"data\.colour"):
        data.read_local(tmp_path, size=8)
