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
from PIL.JpegImagePlugin import JpegImageFile

from vpaudit.data import medical
from vpaudit.data.limits import MAX_PIXELS, MIN_SIDE, Unusable

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "PPM", "JPEG2000")
SUFFIXES = {
    ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP",
    ".gif": "GIF", ".avif": "AVIF", ".ppm": "PPM", ".pgm": "PPM", ".pbm": "PPM", ".pnm": "PPM", ".jp2": "JPEG2000",
    ".j2k": "JPEG2000", ".jfif": "JPEG", ".heic": "HEIF", ".heif": "HEIF", ".dcm": "DICOM", ".dicom": "DICOM",
}  # fmt: skip
HEADS = (
    b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\x00", b"MM\x00*", b"BM", b"GIF8",
    b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51",
)  # fmt: skip
BRANDS = {b"avif": "AVIF", b"avis": "AVIF", b"heic": "HEIF", b"heix": "HEIF", b"mif1": "HEIF", b"hevc": "HEIF"}
HEAD = 132  # bytes of a file that tell its format
# Pictures that are not read, some of which begin as a TIFF does and hold a thumbnail first.
UNREAD = {
    ".jxl": "JPEG XL", ".svg": "SVG", ".psd": "Photoshop", ".exr": "OpenEXR", ".hdr": "Radiance", ".pdf": "PDF",
    ".eps": "PostScript", ".dng": "camera raw", ".cr2": "camera raw", ".cr3": "camera raw", ".nef": "camera raw",
    ".arw": "camera raw", ".orf": "camera raw", ".rw2": "camera raw", ".mp4": "film", ".mov": "film", ".avi": "film",
    ".mha": "MetaImage", ".mhd": "MetaImage", ".nrrd": "NRRD", ".svs": "slide scan", ".ndpi": "slide scan",
}  # fmt: skip
GREY = ("1", "L", "LA", "La")
ORIENTATION = 0x0112  # EXIF
LARGE, LEFT = 2**21, 4  # pixels of a JPEG that is not decoded whole; of its sides how many times the wanted are kept
DEEP = re.compile(r"\b(L|LA|RGB|RGBA);16[BLN]")  # of Pillow's raw modes, those of which it keeps the high byte


@dataclass(frozen=True)
class Picture:
    """pixels uint8 (H, W) or (H, W, 3); notes: what was done to it besides the resizing that all undergo.

    peak: the largest value of an image of 16 bits a channel, 0 for others; outside: the share of its area that the
    centred square leaves out.
    """

    pixels: np.ndarray
    notes: tuple[str, ...] = ()
    peak: int = 0
    outside: float = 0.0


def looks_like_an_image(head: bytes) -> bool:
    """Whether a file's first HEAD bytes are those of a known format."""
    webp, box = head[:4] == b"RIFF" and head[8:12] == b"WEBP", head[4:8] == b"ftyp" and head[8:12] in BRANDS
    return head.startswith(HEADS) or webp or box or head[128:132] == b"DICM"


def significant_bits(peak: int) -> int:
    """Bits that cameras and scanners give a value, the fewest that hold `peak`: 8, 10, 12, 14 or 16."""
    return next(bits for bits in (8, 10, 12, 14, 16) if peak < 2**bits)


def decode(
    content: bytes, suffix: str = "", size: int | None = None, grey: bool = False, colour: bool = False, bits: int = 16
) -> Picture:
    """A `Picture` from a file's bytes.

    Args:
        suffix: of the file's name, lower case; only to say so where it is not what the file holds.
        size, grey, colour: see `fit`.
        bits: how many of a channel's 16 are in use, where it has 16: 4,095 is white at 12.

    Raises:
        Unusable: no known image format, truncated, too large to decode, smaller than MIN_SIDE, 32 bits a channel.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow's, all of which are either refused below or harmless
            if medical.is_dicom(content):
                image, notes = medical.dicom(content)
                return finish(image, notes, size, grey, colour)
            formats = list(FORMATS)
            if content[4:8] == b"ftyp" and BRANDS.get(content[8:12]) == "HEIF":
                medical.open_heif()
                formats.append("HEIF")
            with Image.open(memory.BytesIO(content), formats=formats) as image:
                _check_size(image.size)
                return _picture(image, suffix, size, grey, colour, bits)
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


def _picture(image: Image.Image, suffix: str, size, grey: bool, colour: bool, bits: int) -> Picture:
    notes = []
    if suffix and SUFFIXES.get(suffix) != image.format.replace("MPO", "JPEG"):
        notes.append("wrong file name extension, decoded by content")
    if getattr(image, "n_frames", 1) > 1:
        notes.append("several frames, the first taken")
        image.seek(0)
    whole_range = image.mode == "I" and image.format == "PPM"  # to which Pillow has scaled it
    deep = whole_range or image.mode.startswith("I;16") or DEEP.search(str(image.tile))
    if image.mode in ("I", "F") and not whole_range:
        raise Unusable(f"32 bits a channel: mode {image.mode}, whose range is not known; convert it to 8 or 16 bits")
    if size is not None and image.width * image.height > LARGE:
        notes += _smaller(image, LEFT * size)
    image.load()
    peak = _peak(image) if deep and not whole_range else 0
    bits = 16 if whole_range else bits
    if deep:
        notes.append(f"16 bits a channel{f', of which {bits} are in use' if bits < 16 else ''}, scaled to 8")
    if deep and bits < 16 and not image.mode.startswith("I"):
        raise Unusable(f"16 bits a channel in colour, of which {bits} are in use: convert it to 8 bits")
    return finish(image, notes, size, grey, colour, peak, bits)


def _smaller(image: Image.Image, side: int) -> list[str]:
    """A JPEG is to be decoded at a half, quarter or eighth, no smaller than `side`: it saves time and memory."""
    whole = image.size
    if isinstance(image, JpegImageFile):
        image.draft(image.mode, (side, side))
    return ["a large JPEG, decoded at a part of its size before it was resized"] * (image.size != whole)


def _peak(image: Image.Image) -> int:
    """The largest value of 16 bits; of colour Pillow has kept the high byte."""
    high = int(np.asarray(image).max())
    return high if image.mode.startswith("I") else 256 * high + 255


def _scaled(image: Image.Image, bits: int) -> Image.Image:
    """Mode L from 16 bits, white at 2^bits - 1."""
    top = 2**bits - 1
    values = (np.asarray(image).astype(np.uint32) * 255 + top // 2) // top
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


def finish(
    image: Image.Image, notes: list[str], size, grey: bool, colour: bool, peak: int = 0, bits: int = 16
) -> Picture:
    """A `Picture` of a decoded image: upright, opaque, of the wanted channels and size."""
    _check_size(image.size)
    if image.getexif().get(ORIENTATION, 1) in range(2, 9):
        notes.append("turned as its EXIF data say")
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        image = _scaled(image, bits)
    if image.mode == "CMYK":
        notes.append("CMYK, brought to RGB without a colour profile")
    plain, seen_through = opaque(image)
    if seen_through:
        notes.append("transparent, laid on white")
    pixels = fit(plain, size, grey, colour)
    if size is not None and min(plain.size) < size:
        notes.append("smaller than the prior's images, enlarged")
    outside = 0.0 if size is None else 1 - min(plain.size) / max(plain.size)
    return Picture(pixels, tuple(notes), peak, outside)


def opaque(image: Image.Image) -> tuple[Image.Image, bool]:
    """The image in mode L or RGB, laid on white where it is transparent, and whether it is anywhere."""
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
