"""Checkpoints of a running job in work/: finished shards survive kill -9 and are found again by the same command.

A shard is filed under a fingerprint of all it depends on (settings, input files, the code that made it), so a stale
one can never be picked up, and adding a draw or an attack computes only what is new.
"""

import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from vpaudit.base import files


class Journal:
    """Shards of one job.

    Args:
        folder: of the shards, e.g. work/embedded/reconstruct/mu=5.
        code: source files whose edit invalidates shards.
        inputs: files whose content invalidates shards.
    """

    def __init__(self, folder: str | Path, code: list[Path], inputs: list[Path]):
        self.folder = Path(folder)
        self.base = [files.sha256(path) for path in [*code, *inputs]]

    def __call__(self, key: dict, compute: Callable[[], np.ndarray]) -> np.ndarray:
        """The shard filed under `key` (plain values), computed and filed if it is not there."""
        text = json.dumps([self.base, key], sort_keys=True)
        path = self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.npz"
        try:
            with np.load(path) as file:
                return file["shard"]
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            path.unlink()  # torn by a full disk or a crash of the machine: make it again
        shard = compute()
        with files.atomic(path) as temporary:
            np.savez(temporary, shard=shard)
        return shard

    def drop(self) -> None:
        """Delete every shard: the job is done and nobody will add to it."""
        shutil.rmtree(self.folder, ignore_errors=True)
