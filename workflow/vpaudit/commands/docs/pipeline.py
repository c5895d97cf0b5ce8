"""Facts of dvc.yaml: on which code and configuration keys its stages depend, as study/depends.py finds them."""

import itertools
from pathlib import Path

from vpaudit.study import depends

# Packages of which DVC records files (or packages inside): they serve many stages. The others are recorded whole.
BY_FILE = ("experiments", "report", "stages", "study")


def pipeline() -> dict:
    """Two functions for the template."""
    return {"code": code, "keys": keys}


def code(*names: str) -> str:
    """Folders and files, as lines of a list in YAML; `names` are stages, or modules such as "report.figures.grid"."""
    asked = (depends.code(name) if name in depends.STAGES else depends.code_of_module(name) for name in names)
    return "\n      - ".join(sorted({_unit(path) for path in itertools.chain(*asked)}))


def _unit(path: Path) -> str:
    parts = path.relative_to(depends.PACKAGE).parts
    return "/".join(["workflow/vpaudit", *parts[: 2 if parts[0] in BY_FILE else 1]])


def keys(group: str, *more: str) -> str:
    """Keys of a group of settings and `more` of them, as a list in YAML."""
    return f"[{', '.join(dict.fromkeys([*depends.keys(group), *more]))}]"
