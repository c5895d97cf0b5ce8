"""Downloads: each file from the first source that gives the right bytes, checked, then put in place whole."""

import errno
import gzip
import hashlib
import http.client
import io as memory
import os
import shutil
import ssl
import struct
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from vpaudit.base import files
from vpaudit.base.errors import VpauditError
from vpaudit.data.read import card, decompressed, verify

TIMEOUT = 15.0  # seconds without an answer


def fetch(name: str, folder: str | Path, sources: list[dict] | None = None) -> Path:
    """Bring a data set's files into folder/name; files already there and right are kept.

    Sources, in order: the folder named by VPAUDIT_MIRROR, then the card's (public HTTPS, Hugging Face, Debian package).

    Raises:
        VpauditError: no source had a file, and for each source why; or the disk is full, which ends the search.
    """
    about = card(name)
    if "files" not in about:
        raise VpauditError(f"{name} needs no download", "it comes with scikit-learn")
    folder = Path(folder) / name
    if sources is None:
        mirror = os.environ.get("VPAUDIT_MIRROR")
        sources = ([{"kind": "mirror", "base": mirror}] if mirror else []) + about["sources"]
    missing = [file for file, digest in about["files"].items() if not _right(folder / file, digest)]
    failures = []
    for source in sources:
        if not missing:
            break
        try:
            opener = OPENERS.get(source["kind"])
            if opener is None:
                raise VpauditError(f"no way to open a source of kind {source['kind']!r}")
            opener(source, {file: about["files"][file] for file in missing}, folder)
        except VpauditError as error:
            if getattr(error.__cause__, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
                raise
            failures.append(f"  - {source.get('base') or source.get('package')}: {error.message}")
        missing = [file for file in missing if not _right(folder / file, about["files"][file])]
    if missing:
        raise VpauditError(
            f"{name}: {', '.join(missing)} could not be had from any source:\n" + "\n".join(failures),
            "put the files into a folder and set VPAUDIT_MIRROR to it",
        )
    return folder


def _right(path: Path, digest: str) -> bool:
    if not path.exists():
        return False
    try:
        return hashlib.sha256(decompressed(path, "")).hexdigest() == digest
    except VpauditError:
        return False


def _place(path: Path, digest: str, write: Callable[[Path], None]) -> None:
    """Write to a temporary name, check, rename."""
    with files.atomic(path) as temporary:
        write(temporary)
        found = hashlib.sha256(decompressed(temporary, "")).hexdigest()
        if found != digest:
            raise VpauditError(f"{path.name}: content sha256 {found}, expected {digest}")


def _https(source: dict, files: dict[str, str], folder: Path) -> None:
    for file, digest in files.items():
        _place(folder / file, digest, lambda path, file=file: download(source["base"] + file, path))


def download(url: str, path: Path) -> None:
    """One file, with progress; a connection that is cut short is an error."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer, open(path, "wb") as out:
            total = int(answer.headers.get("Content-Length") or 0)
            with tqdm(
                total=total, unit="B", unit_scale=True, desc=url.rsplit("/", 1)[-1], disable=None, ascii=True, ncols=79
            ) as bar:
                while block := answer.read(1 << 16):
                    out.write(block)
                    bar.update(len(block))
            if total and out.tell() != total:
                raise VpauditError(f"{url}: connection cut after {out.tell()} of {total} bytes")
    except urllib.error.HTTPError as error:
        raise VpauditError(f"{url}: HTTP {error.code} {error.reason}") from error
    except (urllib.error.URLError, TimeoutError, ConnectionError, ssl.SSLError) as error:
        raise VpauditError(f"{url}: {getattr(error, 'reason', error)}") from error
    except http.client.HTTPException as error:
        raise VpauditError(f"{url}: broken answer ({type(error).__name__}: {error})") from error


def _huggingface(source: dict, files: dict[str, str], folder: Path) -> None:
    """Parquet files of PNG images, put back into IDX: the bytes the digest is of."""
    for split, prefix in (("train", "train-"), ("test", "t10k-")):
        wanted = {file: digest for file, digest in files.items() if file.startswith(prefix)}
        if not wanted:
            continue
        with tempfile.TemporaryDirectory() as scratch:
            parquet = Path(scratch) / source["file"].format(split=split)
            download(source["base"] + parquet.name, parquet)
            images, labels = _read_parquet(parquet)
        for file, digest in wanted.items():
            content = gzip.compress(_idx(images if "images" in file else labels), 6, mtime=0)
            _place(folder / file, digest, lambda path, content=content: path.write_bytes(content))


def _read_parquet(path: Path) -> tuple[np.ndarray, np.ndarray]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path, columns=["image", "label"])
        images = [np.array(Image.open(memory.BytesIO(row["bytes"]))) for row in table["image"].to_pylist()]
        return np.stack(images).astype(np.uint8), table["label"].to_numpy().astype(np.uint8)
    except (pyarrow.ArrowException, OSError, SyntaxError, ValueError, KeyError, TypeError) as error:
        raise VpauditError(f"{path.name} is not a Parquet file of images: {error}") from error


def _idx(array: np.ndarray) -> bytes:
    """LeCun's format, unsigned bytes."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def _mirror(source: dict, files: dict[str, str], folder: Path) -> None:
    for file, digest in files.items():
        origin = next(iter(sorted(Path(source["base"]).rglob(file))), None)
        if origin is None:
            raise VpauditError(f"{file} is not in {source['base']}")
        _place(folder / file, digest, lambda path, origin=origin: shutil.copyfile(origin, path))


def _debian(source: dict, files: dict[str, str], folder: Path) -> None:
    """`apt-get download` and `dpkg -x`: no root needed, nothing installed."""
    for tool in ("apt-get", "dpkg"):
        if shutil.which(tool) is None:
            raise VpauditError(f"{tool} is not on this machine")
    patience = [f"-oAcquire::{kind}::Timeout={TIMEOUT:.0f}" for kind in ("http", "https")]
    with tempfile.TemporaryDirectory() as scratch:
        done = _run(["apt-get", *patience, "-oAcquire::Retries=1", "download", source["package"]], scratch)
        package = next(iter(Path(scratch).glob("*.deb")), None)
        if done.returncode or package is None:
            raise VpauditError(f"apt-get download: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
        verify(package, source["sha256"], "the package was changed since this card was written")
        unpacked = _run(["dpkg", "-x", str(package), scratch], scratch)
        if unpacked.returncode:
            raise VpauditError(f"dpkg -x: {(unpacked.stderr.strip().splitlines() or ['failed'])[-1]}")
        _mirror({"base": str(Path(scratch) / source["folder"])}, files, folder)


def _run(command: list[str], folder: str) -> subprocess.CompletedProcess:
    try:
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    except subprocess.TimeoutExpired as error:
        raise VpauditError(f"{command[0]} took longer than {error.timeout:.0f} s") from error


OPENERS = {"https": _https, "huggingface": _huggingface, "mirror": _mirror, "debian": _debian}
