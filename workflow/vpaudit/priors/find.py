"""Finding a prior by its name, and a Gaussian prior of the same shape."""

from collections.abc import Iterable
from pathlib import Path

from vpaudit.base import files, places
from vpaudit.base.errors import VpauditError
from vpaudit.priors import folder as folders


def folder(name: str | Path) -> Path:
    """The folder of a diffusion prior: a path, or the name of one that is shipped or was fetched.

    Raises:
        VpauditError: neither is a prior's folder.
    """
    known = {key: path for key, path in places.priors().items() if folders.holds_prior(path)}
    found = next((path for path in (Path(name), known.get(str(name))) if path and folders.holds_prior(path)), None)
    if found is None:
        hint = f"known: {', '.join(sorted(known))}; or give the path of a diffusers folder"
        raise VpauditError(f"no prior {str(name)!r}", hint)
    return found


def near(prior: Path) -> list[Path]:
    """Where a prior's Gaussian may be: in its folder, beside it, then among all priors that are known."""
    return [prior / "gaussian", *sorted(prior.resolve().parent.iterdir()), *places.priors().values()]


def gaussian(shape: tuple[int, int, int], candidates: Iterable[Path]) -> Path | None:
    """The first of these folders that holds a Gaussian prior of images of this (C, H, W)."""
    from vpaudit.priors import gaussian

    there = (place for place in candidates if all((place / n).exists() for n in ("gaussian.safetensors", "card.json")))
    fits = (p for p in there if tuple(files.read_json(p / "card.json").get("shape") or gaussian.load(p).shape) == shape)
    return next(fits, None)
