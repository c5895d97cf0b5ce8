"""A zip of strips: lossless WebP pictures of many small square images one below the other, and labels.csv.

Lossless WebP packs small photographs tighter than PNG does, and best in strips.
"""

import csv
import fnmatch
import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from vpaudit.base.errors import VpauditError
from vpaudit.data.images import ImageSet

LABELS = "labels.csv"  # columns label, class; a row an image, in the order of the strips


def is_archive(path: Path) -> bool:
    """A zip that holds labels.csv and strip_*.webp, and nothing else."""
    if path.suffix.lower() != ".zip" or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        strips, others = _members(archive)
        return bool(strips) and others == [LABELS]


def load(path: Path) -> ImageSet:
    """Every image, uint8 (N, side, side, 3), in the order of the strips; ids are places in it.

    Raises:
        VpauditError: a strip that cannot be read, or another number of labels than of images.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            images = np.concatenate([_strip(archive.read(name)) for name in _members(archive)[0]])
            rows = list(csv.DictReader(io.StringIO(archive.read(LABELS).decode("utf-8"))))
        labels = np.array([int(row["label"]) for row in rows], np.int64)
    except (zipfile.BadZipFile, OSError, ValueError, KeyError) as error:
        raise VpauditError(f"{path} cannot be read: {error}", "it may be truncated; fetch it again") from error
    if len(labels) != len(images):
        raise VpauditError(f"{path} holds {len(images)} images and {len(labels)} labels", "fetch it again")
    names = {int(row["label"]): row["class"] for row in rows}
    return ImageSet(path.stem, "test", images, labels, np.arange(len(images)), tuple(names[k] for k in sorted(names)))


def _members(archive: zipfile.ZipFile) -> tuple[list[str], list[str]]:
    """Names of the strips, and of all else, sorted."""
    names = sorted(archive.namelist())
    strips = fnmatch.filter(names, "strip_*.webp")
    return strips, [name for name in names if name not in strips]


def _strip(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content), formats=["WEBP"]) as strip:
        pixels = np.asarray(strip.convert("RGB"))
    return pixels.reshape(-1, pixels.shape[1], *pixels.shape[1:])
