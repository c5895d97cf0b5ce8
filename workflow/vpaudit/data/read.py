"""Reading data sets: shipped subset, full download, scikit-learn's digits. Always verified."""

import gzip
import hashlib
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import torch
import yaml

from vpaudit.base import files, places
from vpaudit.base.errors import VpauditError
from vpaudit.base.randomness import generator
from vpaudit.data.images import ImageSet


def fetched() -> Path:
    """Where whole data sets are fetched to."""
    return places.home() / "resources/data/full"


def card(name: str) -> dict:
    """The card of a data set; an unknown name is answered with the known ones."""
    cards = yaml.safe_load((Path(__file__).parent / "cards.yaml").read_text(encoding="utf-8"))
    if name not in cards:
        raise VpauditError(f"no data set {name!r}", f"known: {', '.join(cards)}; or set data.folder to your images")
    return cards[name]


def load(name: str, split: str, full: bool = False) -> ImageSet:
    """A split of a data set.

    Args:
        name: a card of cards.yaml.
        split: "train" or "test".
        full: all images, which may need `vpaudit fetch`, instead of the subset shipped with the repository.

    Raises:
        VpauditError: unknown name or split, missing, truncated or altered files.
    """
    if split not in ("train", "test"):
        raise VpauditError(f"no split {split!r} in {name}", "use train or test")
    about = card(name)
    if "local" in about:
        return _local(name, about, split)
    if "hub" in about:
        rows, part = _hub_rows(name, about, split)
        most = about["hub"].get("train_images", len(rows)) if split == "train" else len(rows)
        return _hub(name, about, split, rows[chosen(len(rows), name, split, min(most, len(rows)), 0)], part)
    if name == "digits":
        images, labels = _digits(split, about["test_images"])
    elif full:
        images, labels = _idx_split(name, about, split)
    else:
        images, labels = _shipped(about, split)
    names = tuple(about["class_names"])
    return ImageSet(name, split, images, labels.astype(np.int64), np.arange(len(images)), names)


def select(images: ImageSet, count: int, seed: int) -> ImageSet:
    """A random subset of `count` images, keyed by (seed, data set, split), in the order of their ids."""
    return images[chosen(len(images), images.name, images.split, count, seed)]


def chosen(total: int, name: str, split: str, count: int, seed: int) -> np.ndarray:
    """Places of `count` out of `total` images, rising; keyed by (seed, data set, split)."""
    if count > total:
        raise VpauditError(
            f"data.images={count}, but {name} has {total} {split} images here", f"ask for at most {total}"
        )
    order = torch.randperm(total, generator=generator(seed, name, split, "select"))
    return np.sort(order[:count].numpy())


def draw(name: str, split: str, count: int, seed: int) -> ImageSet:
    """`select` from `load`, decoding no more than is wanted where images lie encoded on disk."""
    about = card(name)
    if "hub" not in about:
        return select(load(name, split), count, seed)
    rows, part = _hub_rows(name, about, split)
    return _hub(name, about, split, rows[chosen(len(rows), name, split, count, seed)], part)


def _hub_rows(name: str, about: dict, split: str):
    """Rows of a split, and its files. A set of one split on the hub is divided here, by a fixed key."""
    from vpaudit.data import parquet

    part = parquet.Split(name, about, split, fetched())
    rows = np.arange(len(part))
    if "test_images" in about:
        order = torch.randperm(len(part), generator=generator(name, "split")).numpy()
        rows = np.sort(order[: about["test_images"]] if split == "test" else order[about["test_images"] :])
    return rows, part


def _hub(name: str, about: dict, split: str, rows: np.ndarray, part) -> ImageSet:
    images, labels = part.take(rows)
    return ImageSet(name, split, images, labels, rows, part.class_names)


def _shipped(about: dict, split: str) -> tuple[np.ndarray, np.ndarray]:
    path = places.resource(about["shipped"]["path"])
    verify(path, about["shipped"]["sha256"], "restore it with `git checkout resources/data`")
    with np.load(path) as file:
        return file[f"x_{split}"], file[f"y_{split}"]


def verify(path: Path, expected: str, hint: str) -> None:
    """Raise unless the file's sha256 is the expected one; both are named."""
    if not path.exists():
        raise VpauditError(f"{path} does not exist", hint)
    found = files.sha256(path)
    if found != expected:
        raise VpauditError(f"{path} is truncated or altered: sha256 {found}, expected {expected}", hint)


def _local(name: str, about: dict, split: str) -> ImageSet:
    """A split that lies in an archive of the user's own; verified, read as it is."""
    from vpaudit.data.local import load_local

    part = about["local"].get(split)
    if part is None:
        raise VpauditError(f"{name} has no {split} images", f"it has: {', '.join(about['local'])}")
    path = local_path(name, part["file"])
    verify(path, part["sha256"], "fetch it again from where you had it")
    found = load_local(path, under=part.get("under", ""))
    return ImageSet(name, split, found.images, found.labels, found.ids, tuple(about.get("class_names", ())))


def local_path(name: str, file: str) -> Path:
    """Where an archive of the user's own is, that a card names."""
    own = places.home()
    folders = [os.environ.get("VPAUDIT_DATA"), own / "resources/data/local", own.parent / "shared" / "data"]
    paths = [Path(folder) / file for folder in folders if folder]
    path = next((p for p in paths if p.exists()), None)
    if path is None:
        raise VpauditError(
            f"{name}: {file} is in none of {', '.join(str(p.parent) for p in paths)}",
            "put it there, or set VPAUDIT_DATA to its folder",
        )
    return path


def _digits(split: str, test_images: int) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    raw = load_digits()
    images = np.round(raw.images * (255 / 16)).astype(np.uint8)
    order = torch.randperm(len(images), generator=generator("digits", "split")).numpy()
    part = order[:test_images] if split == "test" else order[test_images:]
    return images[part], raw.target[part]


def _idx_split(name: str, about: dict, split: str) -> tuple[np.ndarray, np.ndarray]:
    prefix = {"train": "train", "test": "t10k"}[split]
    names = [f"{prefix}-images-idx3-ubyte.gz", f"{prefix}-labels-idx1-ubyte.gz"]
    return tuple(read_idx(fetched() / name / file, about["files"][file], name) for file in names)


def read_idx(path: Path, expected: str, name: str) -> np.ndarray:
    """A gzipped IDX file of bytes (LeCun's format), its content verified by sha256."""
    hint = f"delete it and run `vpaudit fetch {name}`"
    if not path.exists():
        raise VpauditError(f"{path} does not exist", f"run `vpaudit fetch {name}`")
    content = decompressed(path, hint)
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise VpauditError(f"{path} is truncated or altered: content sha256 {found}, expected {expected}", hint)
    dimensions = content[3]
    shape = struct.unpack(f">{dimensions}I", content[4 : 4 + 4 * dimensions])
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def decompressed(path: Path, hint: str) -> bytes:
    """A gzip file's content; a broken one is named."""
    try:
        return gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise VpauditError(f"{path} is truncated or not gzip: {error}", hint) from error
