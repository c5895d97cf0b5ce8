"""Finding a prior by its name, and a Gaussian prior of the same shape."""

from collections.abc import Iterable
from pathlib import Path

from vpaudit.base import files, places
from vpaudit.base.denoiser import Shape, shape_from_card
from vpaudit.base.errors import VpauditError
from vpaudit.priors import folder as folders


def folder(name: str | Path) -> Path:
    """The folder of a diffusion prior: a path, or the name of one that is shipped or was fetched.

    Raises:
        VpauditError: neither is a prior's folder.
    """
    known = names()
    found = next((path for path in (Path(name), known.get(str(name))) if path and folders.holds_prior(path)), None)
    if found is None:
        hint = f"known: {', '.join(sorted(known))}; or give the path of a diffusers folder"
        raise VpauditError(f"no prior {str(name)!r}", hint)
    return found


def names() -> dict[str, Path]:
    """Name and folder of every diffusion prior that is shipped or was fetched."""
    return {key: path for key, path in places.priors().items() if folders.holds_prior(path)}


def near(prior: Path) -> list[Path]:
    """Where a prior's Gaussian may be: in its folder, beside it, then among all priors that are known."""
    return [prior / "gaussian", *sorted(prior.resolve().parent.iterdir()), *places.priors().values()]


def gaussian(shape: Shape, candidates: Iterable[Path]) -> Path | None:
    """The first of these folders that holds a Gaussian prior of images of this shape."""

    there = (place for place in candidates if all((place / n).exists() for n in ("gaussian.safetensors", "card.json")))
    return next((place for place in there if _shape(place) == shape), None)


def _shape(folder: Path) -> Shape:
    from vpaudit.priors import gaussian

    written = files.read_json(folder / "card.json").get("shape")
    return shape_from_card(written) if written else gaussian.load(folder).shape
