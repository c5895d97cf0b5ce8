"""Generated from the configuration model: JSON schema, documented defaults, config/README.md. A test fails on drift."""

import json
from pathlib import Path

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from vpaudit.base import files
from vpaudit.base.errors import VpauditError
from vpaudit.study import config as configuration

INTRO = """# Configuration

`config.yaml` is the embedded study, the default. An overlay holds only what differs:
`snakemake --configfile config/smoke.yaml`. Lists are replaced whole. Unknown keys are refused. What was really used is
saved as `results/<study>/config.yaml`. This page, `config.yaml` and `workflow/schemas/config.schema.json` are generated
from `workflow/vpaudit/config.py` by `vpaudit config-docs`.
"""


def write(check: bool = False) -> None:
    """Write all three files, or (check) raise if one is out of date."""
    for path, text in documents().items():
        if check and (not path.exists() or path.read_text(encoding="utf-8") != text):
            raise VpauditError(f"{path} does not match workflow/vpaudit/config.py", "run `vpaudit config-docs`")
        if not check:
            with files.atomic(path) as temporary:
                temporary.write_text(text, encoding="utf-8")


def documents() -> dict[Path, str]:
    """The generated files, by path."""
    schema = configuration.Config.model_json_schema()
    return {
        Path("config/config.yaml"): _yaml(),
        Path("config/README.md"): INTRO + "".join(_tables(configuration.Config, "")),
        Path("workflow/schemas/config.schema.json"): json.dumps(schema, indent=2) + "\n",
    }


def _yaml() -> str:
    head = (
        "# The embedded study: the default. Every key with its range: config/README.md (generated, like this file).\n"
    )
    return head + configuration.dump(configuration.Config())


def _tables(section: type[BaseModel], place: str) -> list[str]:
    """A Markdown table of this section, then those of the sections inside."""
    title = place or "top level"
    lines = [
        f"\n## {title}\n\n{(section.__doc__ or '').strip()}\n\n| key | default | range | meaning |\n|---|---|---|---|\n"
    ]
    inner = []
    for name, field in section.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            inner += _tables(annotation, f"{place}.{name}" if place else name)
            continue
        if name == "attacks":
            inner += _tables(configuration.Attack, "attacks[]")
        lines.append(f"| `{name}` | {_default(name, field)} | {_range(field)} | {field.description or ''} |\n")
    return ["".join(lines), *inner]


def _default(name: str, field) -> str:
    if name == "attacks":
        return "see config.yaml"
    if field.default is PydanticUndefined:
        return "required"
    return f"`{json.dumps(field.default)}`"


def _range(field) -> str:
    limits = [f"{s} {getattr(m, a)}" for m in field.metadata for s, a in _SIGNS if getattr(m, a, None) is not None]
    choices = getattr(field.annotation, "__args__", ())
    if not limits and choices and all(isinstance(c, str) for c in choices):
        return ", ".join(choices)
    return ", ".join(limits)


_SIGNS = ((">", "gt"), (">=", "ge"), ("<", "lt"), ("<=", "le"))
