"""One image file, whatever people's folders hold, to 8-bit pixels: what is done to it is said, what is unusable named.

Only these formats are opened, by what a file holds and not by its name; nothing is decoded that is larger than
MAX_PIXELS. Pillow's other formats stay closed: some of them start other programs.
"""

import io as memory
import re
import warnings
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF")
SUFFIXES = {
    ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP",
    ".gif": "GIF",
}  # fmt: skip
HEADS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\x00", b"MM\x00*", b"BM", b"GIF8")  # and WebP: RIFF....WEBP
MAX_PIXELS = 89_478_485  # Pillow's own limit, from which on it warns of a decompression bomb
MAX_BYTES = 2**29  # of a file, packed or not
MIN_SIDE = 4
GREY = ("1", "L", "LA", "La", "I;16", "I;16L", "I;16B")
ORIENTATION = 0x0112  # EXIF
DEEP = re.compile(r"\b(L|LA|RGB|RGBA);16[BLN]")  # of Pillow's raw modes, those of which it keeps the high byte


class Unusable(Exception):
    """Why an image cannot be audited; what the reader of a list of skipped files is told."""


@dataclass(frozen=True)
class Picture:
    """pixels uint8 (H, W) or (H, W, 3); notes: what was done to it besides the resizing that all undergo."""

    pixels: np.ndarray
    notes: tuple[str, ...] = ()


def looks_like_an_image(head: bytes) -> bool:
    """Whether a file's first 12 bytes are those of a known format."""
    return head.startswith(HEADS) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")


def decode(content: bytes, suffix: str = "", size: int | None = None, grey: bool = False, colour: bool = False):
    """A `Picture` from a file's bytes.

    Args:
        suffix: of the file's name, lower case; only to say so where it is not what the file holds.
        size, grey, colour: see `fit`.

    Raises:
        Unusable: no known image format, truncated, too large to decode, smaller than MIN_SIDE, 32 bits a channel.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow's, all of which are either refused below or harmless
            with Image.open(memory.BytesIO(content), formats=FORMATS) as image:
                _check_size(image.size)
                return _picture(image, suffix, size, grey, colour)
    except Unusable:
        raise
    except Image.DecompressionBombError:
        raise Unusable(f"too large: more than {MAX_PIXELS:,} pixels, not decoded") from None
    except Image.UnidentifiedImageError:
        raise Unusable("not an image: of no known format, or its first bytes are damaged") from None
    except Exception as error:  # a damaged file makes decoders trip over anything
        raise Unusable(f"damaged or truncated: {error}") from error


def _check_size(size: tuple[int, int]) -> None:
    width, height = size
    if width * height > MAX_PIXELS:
        raise Unusable(f"too large: {width}×{height}, more than {MAX_PIXELS:,} pixels, not decoded")
    if min(size) < MIN_SIDE:
        raise Unusable(f"too small: {width}×{height}")


def _picture(image: Image.Image, suffix: str, size, grey: bool, colour: bool) -> Picture:
    notes = []
    if suffix and SUFFIXES.get(suffix) != image.format.replace("MPO", "JPEG"):
        notes.append("wrong file name extension, decoded by content")
    if getattr(image, "n_frames", 1) > 1:
        notes.append("several frames, the first taken")
        image.seek(0)
    deep = image.mode.startswith("I;16") or DEEP.search(str(image.tile))
    if image.mode in ("I", "F"):
        raise Unusable(f"32 bits a channel: mode {image.mode}, whose range is not known; convert it to 8 or 16 bits")
    image.load()
    if deep:
        notes.append("16 bits a channel, scaled to 8")
    if image.getexif().get(ORIENTATION, 1) in range(2, 9):
        notes.append("turned as its EXIF data say")
        image = ImageOps.exif_transpose(image)
    if image.mode == "CMYK":
        notes.append("CMYK, brought to RGB without a colour profile")
    plain, seen_through = opaque(image)
    if seen_through:
        notes.append("transparent, laid on white")
    pixels = fit(plain, size, grey, colour)
    if size is not None and min(plain.size) < size:
        notes.append("smaller than the prior's images, enlarged")
    return Picture(pixels, tuple(notes))


def opaque(image: Image.Image) -> tuple[Image.Image, bool]:
    """The image in mode L or RGB, laid on white where it is transparent, and whether it is anywhere."""
    if image.mode.startswith("I;16"):
        return Image.fromarray(((np.asarray(image).astype(np.uint32) + 128) // 257).astype(np.uint8)), False
    plain = "L" if image.mode in GREY else "RGB"
    if not image.has_transparency_data:
        return image.convert(plain), False
    layer = image.convert("RGBA")
    if layer.getextrema()[3][0] == 255:
        return layer.convert(plain), False
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert(plain), True


def fit(image: Image.Image, size: int | None = None, grey: bool = False, colour: bool = False) -> np.ndarray:
    """uint8 pixels of an image in mode L or RGB: the largest centred square, resized by Lanczos.

    Args:
        size: side, or None to leave the size.
        grey: to one channel (ITU-R 601 luma); colour: to three. Without either it keeps what it has.
    """
    image = image.convert("L") if grey else image.convert("RGB") if colour else image
    if size is not None and image.size != (size, size):
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        square = image.crop((left, top, left + side, top + side))
        image = square.resize((size, size), Image.Resampling.LANCZOS)
    return np.array(image)
