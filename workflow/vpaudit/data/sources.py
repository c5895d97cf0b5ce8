"""What a folder or an archive holds: every file by name, in order, and how to read it; nothing is unpacked to disk."""

import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from vpaudit.base.errors import VpauditError

BLOCK = 2**20
DAMAGED = (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError, lzma.LZMAError, zlib.error, ValueError)
AGAIN = "fetch or pack it again; or unpack what can be saved, and give the folder"


@dataclass(frozen=True)
class Entry:
    """A file: its name inside the source, as people may read it, and how to read its first so many bytes."""

    name: str
    read: Callable[[int], bytes]


@dataclass(frozen=True)
class Listing:
    """All files of a source by name; passed: (name, reason) of what could not be looked into."""

    entries: list[Entry]
    passed: list[tuple[str, str]]


def listed(source: Path) -> Listing:
    """Every file of a folder (links to folders are followed), zip or tar.

    Raises:
        VpauditError: none of these, or an archive that is damaged, wherever the damage is.
    """
    passed: list[tuple[str, str]] = []
    try:
        if source.is_dir():
            found = list(_folder(source, passed))
        elif _is(source, (".zip",), zipfile.is_zipfile):
            found = list(_zip(source))
        elif _is(source, (".tar", ".tgz", ".tar.gz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2"), tarfile.is_tarfile):
            found = list(_tar(source))
        else:
            raise VpauditError(f"{source} is not a folder, zip, tar or npz", "unpack it, or give its folder")
    except DAMAGED as error:
        raise VpauditError(f"{source} cannot be read: {error}", AGAIN) from error
    return Listing(sorted(found, key=lambda entry: entry.name), sorted(passed))


def _is(source: Path, endings: tuple[str, ...], recognized: Callable[[Path], bool]) -> bool:
    return source.name.lower().endswith(endings) or recognized(source)


def readable(name: str) -> str:
    """A file's name as one line of text: bytes that are no UTF-8, and control characters, are written out as \\xe9."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _part(open_, *arguments) -> Callable[[int], bytes]:
    def read(count: int) -> bytes:
        with open_(*arguments) as file:
            return file.read(count)

    return read


def _folder(source: Path, passed: list[tuple[str, str]]) -> Iterator[Entry]:
    seen: set[str] = set()
    for place, folders, names in os.walk(source, followlinks=True, onerror=lambda e: _unreadable(source, e, passed)):
        inside = Path(place).relative_to(source)
        folders.sort()
        if os.path.realpath(place) in seen:
            passed.append((readable(inside.as_posix()), "a link to a folder that was read already"))
            folders.clear()
            continue
        seen.add(os.path.realpath(place))
        for name in names:
            path, shown = Path(place) / name, readable((inside / name).as_posix())
            if path.is_file():
                yield Entry(shown, _part(open, path, "rb"))
            else:
                passed.append((shown, "a link that leads nowhere" if path.is_symlink() else "no file"))


def _unreadable(source: Path, error: OSError, passed: list[tuple[str, str]]) -> None:
    name = readable(os.path.relpath(error.filename, source))
    passed.append((name, f"unreadable: {error.strerror}"))


def _zip(source: Path) -> Iterator[Entry]:
    archive = zipfile.ZipFile(source)
    for entry in archive.infolist():
        if not entry.is_dir():
            yield Entry(readable(entry.filename), _part(archive.open, entry))


def _tar(source: Path) -> Iterator[Entry]:
    archive = tarfile.open(source)  # noqa: SIM115
    members = archive.getmembers()
    _check_end(archive, source, len(members))
    for member in members:
        if not member.isdir():  # links inside the archive are followed
            yield Entry(readable(member.name), _part(archive.extractfile, member))


def _check_end(archive: tarfile.TarFile, source: Path, count: int) -> None:
    """tarfile takes a damaged header for the archive's end: after the true one there are zeros and nothing else."""
    archive.fileobj.seek(archive.offset)
    start, block = archive.offset, archive.fileobj.read(BLOCK)
    ended = bool(block)
    while block and not any(block):
        start, block = start + len(block), archive.fileobj.read(BLOCK)
    if block or not ended:
        where = f"behind byte {archive.offset:,}" if block else "no end mark"
        raise VpauditError(f"{source} is damaged or cut off ({where}): {count} files before that", AGAIN)
