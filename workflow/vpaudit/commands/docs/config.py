"""Facts of the configuration's pages, from the model in study/config.py: defaults, keys with ranges, JSON schema."""

import json

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from vpaudit.experiments import catalog
from vpaudit.study import config as configuration
from vpaudit.study.config import Section

_SIGNS = ((">", "gt"), (">=", "ge"), ("<", "lt"), ("<=", "le"))


def defaults() -> dict:
    """The default study, as YAML."""
    head = "# The embedded study: the default. Every key with its range: config/README.md (generated, like this file)."
    return {"text": f"{head}\n{configuration.dump(configuration.Config())}"}


def schema() -> dict:
    """The JSON schema of a study, for editors."""
    return {"text": json.dumps(configuration.Config.model_json_schema(), indent=2) + "\n"}


def keys() -> dict:
    """Every section with its keys, those of single experiments last."""
    own = [part for name in catalog.cards() if (model := catalog.settings_model(name)) is not Section
           for part in _sections(model, f"experiments.settings.{name}")]  # fmt: skip
    return {"sections": _sections(configuration.Config, "") + own}


def _sections(section: type[BaseModel], place: str) -> list[dict]:
    """This section, then those inside it."""
    own, inner = [], []
    for name, field in section.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            inner += _sections(annotation, f"{place}.{name}" if place else name)
            continue
        if name == "attacks":
            inner += _sections(configuration.Attack, "attacks[]")
        meaning = field.description or ""
        own.append({"name": name, "default": _default(name, field), "range": _range(field), "meaning": meaning})
    return [{"place": place or "top level", "about": (section.__doc__ or "").strip(), "fields": own}, *inner]


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
