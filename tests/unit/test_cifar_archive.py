"""CIFAR-10's official archive, as Python 2 pickled it: read in the official order, and never as code."""

import io
import os
import pickle
import struct
import tarfile
from typing import ClassVar

import numpy as np
import pytest

from vpaudit import data
from vpaudit.base.errors import VpauditError


class Python2(pickle._Pickler):
    """Strings and bytes as Python 2 wrote them, in protocol 2."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_bytes(self, obj):
        content = obj.encode("latin1") if isinstance(obj, str) else obj
        self.write(pickle.BINSTRING + struct.pack("<i", len(content)) + content)
        self.memoize(obj)

    dispatch[bytes] = dispatch[str] = save_bytes


def pickled(content) -> bytes:
    file = io.BytesIO()
    Python2(file, protocol=2).dump(content)
    return file.getvalue()


def batch(first: int) -> dict:
    """Three images whose red channel holds their number, labels counting on."""
    planes = np.zeros((3, 3, 1024), np.uint8)
    planes[:, 0] = first + np.arange(3, dtype=np.uint8)[:, None]
    planes[:, 1] = np.arange(1024) % 32  # the column, in green
    return {"data": planes.reshape(3, 3072), "labels": [(first + k) % 10 for k in range(3)]}


def archive(path, **members: bytes):
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            about = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            about.size = len(content)
            tar.addfile(about, io.BytesIO(content))
    return path


@pytest.fixture
def official(tmp_path):
    members = {f"data_batch_{n}": pickled(batch(3 * n)) for n in range(1, 6)}
    return archive(tmp_path / "cifar-10-python.tar.gz", test_batch=pickled(batch(0)), **members)


def test_test_and_training_images_in_the_official_order(official):
    test = data.load_local(official)
    assert test.images.shape == (3, 32, 32, 3)
    assert test.images[:, 0, 0, 0].tolist() == test.labels.tolist() == [0, 1, 2]
    assert test.images[0, 5, :, 1].tolist() == list(range(32))
    train = data.load_local(official, under="train")
    assert train.images[:, 0, 0, 0].tolist() == list(range(3, 18))


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    class Harm:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "harmed"),))

    path = archive(tmp_path / "cifar-10-python.tar.gz", test_batch=pickle.dumps({"data": Harm()}))
    with pytest.raises(VpauditError, match="refused to unpickle"):
        data.load_local(path)
    assert not (tmp_path / "harmed").exists()


def test_a_truncated_or_incomplete_archive_is_named(official, tmp_path):
    with pytest.raises(VpauditError, match=r"cifar-10-python\.tar\.gz cannot be read"):
        data.load_local(archive(tmp_path / "cifar-10-python.tar.gz", other=b""))
    (tmp_path / "cifar-10-python.tar").write_bytes(b"short")
    with pytest.raises(VpauditError, match="cannot be read"):
        data.load_local(tmp_path / "cifar-10-python.tar")
