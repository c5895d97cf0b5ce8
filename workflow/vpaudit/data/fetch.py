"""Downloads: each file from the first source that gives the right bytes, checked, then put in place whole."""

import hashlib
import os
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from vpaudit import io
from vpaudit.data.read import card, decompressed, verify
from vpaudit.errors import VpauditError

TIMEOUT = 15.0  # seconds without an answer


def fetch(name: str, folder: str | Path, sources: list[dict] | None = None) -> Path:
    """Bring a data set's files into folder/name; files already there and right are kept.

    Sources, in order: the folder named by VPAUDIT_MIRROR, then the card's (public HTTPS, Debian package).

    Raises:
        VpauditError: no source had a file; says for each source why.
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
            OPENERS[source["kind"]](source, {file: about["files"][file] for file in missing}, folder)
        except VpauditError as error:
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
    with io.atomic(path) as temporary:
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
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise VpauditError(f"{url}: {getattr(error, 'reason', error)}") from error


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
    with tempfile.TemporaryDirectory() as scratch:
        done = subprocess.run(
            ["apt-get", "download", source["package"]], cwd=scratch, capture_output=True, text=True, timeout=600
        )
        package = next(iter(Path(scratch).glob("*.deb")), None)
        if done.returncode or package is None:
            raise VpauditError(f"apt-get download: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
        verify(package, source["sha256"], "the package was changed since this card was written")
        subprocess.run(["dpkg", "-x", package, scratch], check=True, capture_output=True)
        _mirror({"base": str(Path(scratch) / source["folder"])}, files, folder)


OPENERS = {"https": _https, "mirror": _mirror, "debian": _debian}
