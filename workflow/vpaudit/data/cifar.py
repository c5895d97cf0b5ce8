"""CIFAR-10's official archive, cifar-10-python.tar.gz: pickled batches, read by an unpickler for numpy alone."""

import tarfile
from pathlib import Path

import numpy as np

from vpaudit.base.errors import VpauditError
from vpaudit.base.unpickle import read_pickle
from vpaudit.data.images import ImageSet

NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
BATCHES = {"train": [f"data_batch_{number}" for number in range(1, 6)], "test": ["test_batch"]}


def is_archive(path: Path) -> bool:
    """By its official name."""
    return path.name.startswith("cifar-10-python.tar")


def load(path: Path, split: str) -> ImageSet:
    """The 10,000 test or 50,000 training images, uint8 (N, 32, 32, 3), in the official order.

    Raises:
        VpauditError: the archive is truncated, lacks a batch, or holds more than numpy arrays.
    """
    if split not in BATCHES:
        raise VpauditError(f"no split {split!r} in {path}", "set data.under to train or test")
    try:
        with tarfile.open(path) as archive:
            batches = [read_pickle(archive.extractfile(f"cifar-10-batches-py/{name}")) for name in BATCHES[split]]
    except (tarfile.TarError, OSError, EOFError, KeyError) as error:
        raise VpauditError(f"{path} cannot be read: {error}", "it may be truncated; fetch it again") from error
    flat = np.concatenate([batch["data"] for batch in batches])
    labels = np.concatenate([np.asarray(batch["labels"], dtype=np.int64) for batch in batches])
    images = np.ascontiguousarray(flat.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    return ImageSet("cifar10", split, images, labels, np.arange(len(images)), NAMES)
