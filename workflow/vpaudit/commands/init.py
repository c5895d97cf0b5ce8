"""`vpaudit init`: a working copy of the workflow, for those who change rules; `vpaudit audit` runs in one as well."""

import argparse
import filecmp
import os
import shutil
import tempfile
from pathlib import Path

from vpaudit.base import files, places
from vpaudit.base.errors import VpauditError


def add_init(command: argparse.ArgumentParser) -> None:
    command.add_argument("folder", help="new or empty")
    command.set_defaults(run=_run)


def _run(arguments) -> None:
    folder = Path(arguments.folder).absolute()
    init(folder)
    print(f"{folder} is a working copy: `snakemake` and `vpaudit audit` run in it with its own rules and settings")


def init(folder: Path) -> None:
    """Lay out a working copy, whole or not at all.

    Raises:
        VpauditError: the folder is not empty, or cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise VpauditError(f"{folder} is not an empty folder", "name one that is new or empty")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    except OSError as error:
        raise VpauditError(f"cannot write {folder}: {error.strerror}", "name a folder you may write to") from error
    try:
        made = scratch / "copy"  # unlike scratch itself, with the user's usual rights
        lay_out(made)
        os.replace(made, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def lay_out(folder: Path) -> None:
    """Bring a folder up to what is shipped; a file that is so already is left alone, and so is every other file."""
    for root in reversed(places.shipped()):  # the Snakefile comes last: a folder that has it has everything
        for source in places.files_of(root, (*places.MORE_PRIORS, *places.WORKFLOW)):
            target = folder / source.relative_to(root)
            if not target.exists() or not filecmp.cmp(source, target):
                with files.atomic(target) as temporary:
                    shutil.copyfile(source, temporary)
                os.utime(target, (source.stat().st_atime, source.stat().st_mtime))  # makes the next comparison cheap


def working_folder() -> Path:
    """The folder that studies run in, with the workflow in it; a user's cache is brought up to what is installed."""
    home = places.home()
    if not places.is_working_copy(home) or home == places.cache():
        lay_out(home)
    return home
