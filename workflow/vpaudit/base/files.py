"""Files: written whole or not at all, checked when read."""

import contextlib
import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vpaudit.base.errors import VpauditError


@contextlib.contextmanager
def atomic(path: str | os.PathLike, private: bool = False) -> Iterator[Path]:
    """Give a temporary name beside `path`; on success it is renamed to `path`, on failure removed.

    Args:
        private: readable and writable by the owner only, from the first byte on; else as the umask says.

    Raises:
        VpauditError: the disk is full or the place cannot be written; nothing is left behind.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=f".tmp{path.suffix}")
        os.close(handle)
    except OSError as error:
        raise _write_error(path, error) from error
    temporary = Path(name)
    try:
        yield temporary
        os.chmod(temporary, 0o600 if private else 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        raise _write_error(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _write_error(path: Path, error: OSError) -> VpauditError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return VpauditError(
            f"no space left while writing {path}", "free disk space and run the same command again; it resumes"
        )
    return VpauditError(f"cannot write {path}: {error.strerror or error}", "check the path and its permissions")


def sha256(path: str | os.PathLike) -> str:
    """Hex digest of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def plain(value):
    """What JSON knows of a value, a list or a dict: numbers to six digits, None for NaN and infinity."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [plain(v) for v in value]
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(f"{value:.6g}") if np.isfinite(value) else None
    return value


def write_json(path: str | os.PathLike, content) -> None:
    """Write JSON, indented, keys in the given order, with a final newline."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: str | os.PathLike):
    """Read JSON; a broken file is named."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise VpauditError(f"{path} does not exist", "run the stage that makes it, or `make replicate`") from error
    except ValueError as error:
        raise VpauditError(f"{path} is not valid JSON: {error}", "delete it and run the same command again") from error


def write_table(path: str | os.PathLike, table) -> None:
    """A pandas table as Parquet, whole or not at all."""
    with atomic(path) as temporary:
        table.reset_index(drop=True).to_parquet(temporary, index=False)
