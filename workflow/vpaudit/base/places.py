"""Where things are: what is shipped (a clone, or an installed package), and the working folder that studies run in."""

import importlib.util
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
# What a working copy is made of: in vpaudit's wheel, and in that of vpaudit-priors, as none may be larger than 100 MB.
# The latter holds the priors that are for research only, or of images without a licence.
WORKFLOW = (
    "environment.yml", "rules", "config", "profiles", "workflow/report", "workflow/run.sh", "resources/data/README.md",
    "resources/data/fashion_mnist_6000_2000.npz", "resources/priors/fashion_mnist_dit",
    "resources/priors/fashion_mnist_gaussian", "resources/priors/chest_xray_64", "Snakefile",
)  # fmt: skip
MORE_PRIORS = tuple(f"resources/priors/{name}" for name in ("cifar10", "faces_64", "photographs"))


def is_working_copy(folder: Path) -> bool:
    """Whether Snakemake can run studies in this folder: it holds the rules."""
    return (folder / "Snakefile").is_file() and (folder / "rules/common.smk").is_file()


CLONE = PACKAGE.parents[1] if is_working_copy(PACKAGE.parents[1]) else None
SHIPPED = CLONE or PACKAGE / "_workflow"  # Snakefile, rules, config, profiles, resources


def files_of(root: Path, parts: tuple[str, ...]) -> Iterator[Path]:
    """The files of these parts, in their order; a part that is not there has none."""
    for part in parts:
        paths = [root / part] if (root / part).is_file() else sorted((root / part).rglob("*"))
        yield from (path for path in paths if path.is_file())


def cache() -> Path:
    """The working folder of an installed package: XDG_CACHE_HOME/vpaudit, or ~/.cache/vpaudit."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vpaudit"


def home() -> Path:
    """The working folder: all that studies, fetched data and fetched priors write goes there.

    VPAUDIT_HOME if it is set; the present folder if it is a working copy; the clone; the user's cache.
    """
    if os.environ.get("VPAUDIT_HOME"):
        return Path(os.environ["VPAUDIT_HOME"]).absolute()
    return Path.cwd() if is_working_copy(Path.cwd()) else CLONE or cache()


def shipped() -> list[Path]:
    """Folders laid out like the repository that hold what is shipped: the workflow, and a package of more priors."""
    found = importlib.util.find_spec("vpaudit_priors")
    return [SHIPPED, *map(Path, (found.submodule_search_locations or ()) if found else ())]


def resource(path: str | Path) -> Path:
    """A file or folder named as in the repository, e.g. resources/priors/NAME: the working folder's, else as shipped.

    What is in neither is returned as the working folder's.
    """
    return next((place / path for place in (home(), *shipped()) if (place / path).exists()), home() / path)


def priors() -> dict[str, Path]:
    """Name and folder of every prior, the working folder's own before shipped ones of the same name."""
    folders = (place / "resources/priors" for place in reversed((home(), *shipped())))
    return {path.name: path for folder in folders for path in sorted(folder.glob("*/"))}


def commit() -> str:
    """The commit of the code, and whether it was changed since; "not known" without git."""
    if not CLONE or not (CLONE / ".git").exists():  # a repository further out says nothing of this code
        return "not known"
    try:
        done = [
            subprocess.run(
                ["git", "-C", str(CLONE), *command], capture_output=True, text=True, check=True
            ).stdout.strip()
            for command in (
                ["rev-parse", "--short=12", "HEAD"],
                ["status", "--porcelain", "--", "workflow", "rules", "config", "Snakefile"],
            )
        ]
    except (OSError, subprocess.CalledProcessError):
        return "not known"
    return done[0] + (", with changes" if done[1] else "")
