"""npz files of images, in the layouts that people have: which array, which axes, which range of values, which labels.

What is unambiguous is taken, and said; what is not is refused with the keys and shapes that are there.
"""

import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vpaudit.base.errors import VpauditError
from vpaudit.data.decode import significant_bits
from vpaudit.data.limits import MIN_SIDE

FIRST = ("x", "images", "x_test", "test_images")  # of several arrays of images: the first of these
LABELS = {"x": "y", "images": "labels", "image": "label", "data": "labels", "imgs": "labels"}
HINT = "store images as np.savez(file, x=...), uint8, (N, H, W) or (N, H, W, 3)"
MOST_CLASSES = 10_000  # labels above that are no class numbers


@dataclass
class Arrays:
    """images uint8 (N, H, W), (N, H, W, 3) or (N, H, W, 4); labels int64 (N,), -1 without, and the classes' names.

    notes: what was assumed; doubts: why labels were left out.
    """

    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    notes: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)


def read(source: Path, under: str = "") -> Arrays:
    """The images of an npz file.

    Args:
        under: of several arrays that whose key begins or ends so: "train" for x_train or train_images.

    Raises:
        VpauditError: no file of arrays, no array of images or several, or values of an unknown range.
    """
    try:
        with np.load(source, allow_pickle=False) as file:
            shapes = _shapes(file)
            key = _images_key(source, shapes, under)
            raw, label_key = file[key], _label_key(key, shapes)
            labels, doubt = _labels(file, label_key, len(raw))
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError, TypeError) as error:
        raise VpauditError(f"{source} cannot be read: {error}", "it may be truncated; fetch it again") from error
    notes = [] if key in FIRST else [f"images taken from {key}"]
    images = _eight_bits(_channels_last(raw, notes), f"{source}: {key}", notes)
    numbers, names = (np.full(len(raw), -1), ("image",)) if labels is None else _classes(labels)
    return Arrays(images, numbers, names, notes, [doubt] if doubt else [])


def _shapes(file) -> dict[str, str | tuple]:
    """Shape and dtype by key, from the headers alone; a text where a member is no array of numbers."""
    found: dict[str, str | tuple] = {}
    for member in file.zip.namelist():
        with file.zip.open(member) as stream:
            try:
                version = np.lib.format.read_magic(stream)
                header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
                shape, _, dtype = header[version](stream)
                found[member.removesuffix(".npy")] = "pickled objects" if dtype.hasobject else (shape, dtype)
            except (ValueError, KeyError):
                found[member.removesuffix(".npy")] = "no array"
    return found


def _is_images(about: str | tuple) -> bool:
    if isinstance(about, str) or about[1].kind not in "buif":
        return False
    shape, _ = about
    sides = [n for n in shape[1:] if n >= MIN_SIDE]
    return len(shape) in (3, 4) and shape[0] > 0 and len(sides) >= 2 and (len(shape) == 3 or _axis(shape) is not None)


def _axis(shape: tuple[int, ...]) -> int | None:
    """The axis of channels of a shape of four."""
    if shape[3] in (1, 3, 4):
        return 3
    return 1 if shape[1] in (1, 3, 4) else None


def _images_key(source: Path, shapes: dict, under: str) -> str:
    """The key of the images; refused with all that is there if there are none, or several."""
    fit = [key for key, about in shapes.items() if _is_images(about)]
    if under:
        fit = [key for key in fit if under in (key.split("_", 1)[0], key.rsplit("_", 1)[-1])]
    chosen = next((key for name in FIRST for key in fit if key.lower() == name), fit[0] if len(fit) == 1 else None)
    if chosen is None:
        there = ", ".join(f"{key} ({_text(about)})" for key, about in shapes.items()) or "nothing"
        what = "several arrays of images" if fit else "no array of images" + (f" under {under!r}" if under else "")
        raise VpauditError(f"{source} holds {what}: {there}", HINT)
    return chosen


def _text(about: str | tuple) -> str:
    return about if isinstance(about, str) else f"{about[1]} of shape {about[0]}"


def _label_key(key: str, shapes: dict) -> str | None:
    """The key of the labels that belong to x, x_train, train_images and the like."""
    wanted = "_".join(LABELS.get(part, part) for part in key.lower().split("_"))
    return next((other for other in shapes if other.lower() == wanted and other != key), None)


def _labels(file, key: str | None, count: int) -> tuple[np.ndarray | None, str]:
    """One label an image, or None and why; images are attacked without them."""
    if key is None:
        return None, ""
    try:
        labels = file[key]
    except (ValueError, TypeError, AttributeError):
        return None, f"labels {key} left out: pickled objects, or no array"
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    elif labels.ndim == 2 and labels.dtype.kind in "buif" and ((labels != 0).sum(1) == 1).all():
        labels = labels.argmax(1)  # one-hot
    usable = labels.shape == (count,) and (labels.dtype.kind != "f" or np.isfinite(labels).all())
    if not usable:
        return None, f"labels {key} left out: shape {labels.shape} or values that are not finite, for {count} images"
    return labels, ""


def _classes(labels: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Class numbers as they are; words, and numbers too large to count up to, in the order of their values."""
    if labels.dtype.kind in "bui" and labels.min() >= 0 and labels.max() < MOST_CLASSES:
        return labels.astype(np.int64), tuple(str(k) for k in range(int(labels.max()) + 1))
    if labels.dtype.kind == "S":
        labels = np.char.decode(labels, "utf-8", "replace")
    values, numbers = np.unique(labels, return_inverse=True)
    return numbers.astype(np.int64), tuple(str(value) for value in values)


def _channels_last(raw: np.ndarray, notes: list[str]) -> np.ndarray:
    if raw.ndim == 3:
        return raw
    if _axis(raw.shape) == 1:
        notes.append("channels first, moved last")
        raw = np.moveaxis(raw, 1, 3)
    return raw[..., 0] if raw.shape[3] == 1 else raw


def _eight_bits(raw: np.ndarray, place: str, notes: list[str]) -> np.ndarray:
    """uint8 from whatever range: bool; whole numbers of up to 16 bits; floats in [0, 1], [-1, 1] or [0, 255]."""
    if raw.dtype == np.uint8:
        return raw
    low, high = raw.min(), raw.max()
    if raw.dtype.kind == "b":
        top = 1.0
    elif raw.dtype.kind in "ui" and low >= 0 and high < 2**16:
        top = 2.0 ** significant_bits(int(high)) - 1
    elif raw.dtype.kind == "f" and low >= 0 and high <= 255:
        top = 1.0 if high <= 1 else 255.0
    elif raw.dtype.kind == "f" and low >= -1 and high <= 1:
        raw, top = (raw + 1) / 2, 1.0
    else:
        raise VpauditError(f"{place} is {raw.dtype} from {low:g} to {high:g}, a range that means no known image", HINT)
    span = "[-1, 1]" if low < 0 else f"[0, {top:g}]"
    notes.append(f"{raw.dtype} values from {float(low):g} to {float(high):g} taken for {span}")
    return np.round(raw * (255.0 / top)).astype(np.uint8)
