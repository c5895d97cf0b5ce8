"""The folder an audit answers into: it writes, replaces and deletes its own files there, and nobody else's."""

import os
import shutil
from pathlib import Path

from vpaudit.base import files
from vpaudit.base.errors import VpauditError

LIST = "audit-files.txt"  # what an audit wrote, a path a line, each put down before it is written
FREE = 2**25  # bytes that must be free: page, figures and tables have a few MiB


class Output:
    """A folder's files of this audit; those of an earlier one are deleted as they are replaced.

    Args:
        folder: made where it is missing.
        ours: it is in results/, where everything is an audit's.

    Raises:
        VpauditError: it is a file, cannot be written, is full, or holds files and no list of an audit's.
    """

    def __init__(self, folder: Path, ours: bool = False):
        self.folder = folder
        check(folder, ours)
        before = self._listed() if (folder / LIST).exists() or not ours else self._all()
        self.names: list[str] = []
        with files.atomic(folder / LIST) as temporary:  # fails before the attack where it would fail after it
            temporary.write_text("\n".join([*before, ""]), encoding="utf-8")

    def clear(self) -> None:
        """Delete what earlier audits wrote."""
        for name in self._listed():
            path = self.folder / name
            if path.is_file() and path.resolve().is_relative_to(self.folder.resolve()):
                path.unlink()
        self._put_down()

    def path(self, name: str) -> Path:
        """Where to write a file of this audit.

        Raises:
            VpauditError: a file is there that no audit wrote.
        """
        path = self.folder / name
        if os.path.lexists(path) and name not in self.names:
            raise VpauditError(f"{path} is there, and no audit wrote it", "move it away, or name another --out")
        if name not in self.names:
            self.names.append(name)
            self._put_down()
        return path

    def _put_down(self) -> None:
        with files.atomic(self.folder / LIST) as temporary:
            temporary.write_text("\n".join([*self.names, ""]), encoding="utf-8")

    def _listed(self) -> list[str]:
        path = self.folder / LIST
        return path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []

    def _all(self) -> list[str]:
        found = self.folder.rglob("*") if self.folder.exists() else []
        return [path.relative_to(self.folder).as_posix() for path in found if path.is_file()]


def check(folder: Path, ours: bool = False) -> None:
    """What can be told of a folder without writing into it; see `Output`."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if not there.is_dir():
        raise VpauditError(f"{folder} cannot be a folder: {there} is a file", "name another --out")
    if there == folder and not ours and any(folder.iterdir()) and not (folder / LIST).exists():
        raise VpauditError(f"{folder} holds files that no audit wrote", "name an empty or a new folder as --out")
    if not os.access(there, os.W_OK | os.X_OK):
        raise VpauditError(f"{there} cannot be written", "name another --out, or change its permissions")
    free = shutil.disk_usage(there).free
    if free < FREE:
        raise VpauditError(f"{there} has {free / 2**20:.0f} MiB free, {FREE / 2**20:.0f} are needed", "free some space")


def check_apart(images: str, *written: Path) -> None:
    """Refuse folders to be written that are among the images: the next audit would attack this one's figures."""
    source = Path(images).resolve()
    for folder in written:
        if images.strip() and source.is_dir() and folder.resolve().is_relative_to(source):
            raise VpauditError(
                f"{folder} is inside --images {images}: the next audit would attack this one's figures",
                "keep the images in a folder of their own",
            )
