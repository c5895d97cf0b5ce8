"""Which experiments there are. Neither torch nor matplotlib is imported: rules, stages and documents ask here.

An experiment is a folder of `vpaudit.experiments.__path__` with a card.yaml. Beside that it holds what it has of

    run.py        run(bench) -> long table: columns dataset, image, mu, metric, value, and those that the card names
    figure.py     draw(results folder, style) -> (matplotlib figure, the numbers in it); no torch
    claims.py     of(table) -> list of claims; no torch
    settings.py   Settings, a section of the configuration under experiments.<name>
"""

import difflib
import importlib
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vpaudit import experiments
from vpaudit.base.errors import VpauditError
from vpaudit.study import depends
from vpaudit.study.config import Config, Section, checked


class Card(BaseModel):
    """What is said of an experiment in its card.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    folder: Path
    title: str
    kind: Literal["each mu", "all mu", "figure"] = Field(
        description="run(bench) at one mu; run(bench) once, for all of them; or a figure of tables that exist"
    )
    grid: Literal["study", "experiments"] = Field(
        "experiments", description="mu at which it runs: mechanism.mu, or the shorter experiments.mu"
    )
    images: int | None = Field(None, ge=1, description="images at most, where it draws many samples of each")
    columns: list[str] = Field([], description="columns of its table besides dataset, image, mu, metric, value")
    after: list[str] = Field([], description="experiments whose tables its run reads")
    reconstructions: bool = Field(False, description="whether its run, over all mu, reads those of the study")
    tables: list[str] = Field([], description="what its figure reads besides: names below results/<study>/")
    target: str = Field("experiments", description="the rule that asks for the figure: `snakemake <target>`")
    section: str = Field("Beyond the paper", description="the paper's experiment that it belongs to")
    caption: str = ""
    order: float = Field(1000, description="place in docs/engine.md")
    record: str | None = Field(None, description="study that ran it in full, if it is not the embedded one")
    question: str = Field("", description="heading of its part of docs/engine.md")
    answer: str = Field("", description="two or three sentences, in which Jinja fills numbers of the figure's CSV file")

    @property
    def has_figure(self) -> bool:
        return (self.folder / "figure.py").exists()

    @property
    def has_claims(self) -> bool:
        return (self.folder / "claims.py").exists()

    @property
    def figure_tables(self) -> list[str]:
        """What the figure reads: names below results/<study>/, without suffix."""
        return ([] if self.kind == "figure" else [f"experiments/{self.name}"]) + self.tables


def cards() -> dict[str, Card]:
    """All experiments by name, in the order of docs/engine.md."""
    places = [path for folder in experiments.__path__ for path in sorted(Path(folder).glob("*/card.yaml"))]
    found = {path.parent.name: _read(path) for path in places}
    return dict(sorted(found.items(), key=lambda item: item[1].order))


@cache
def _read(path: Path) -> Card:
    try:
        about = yaml.load(path.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader)) or {}
        return Card(name=path.parent.name, folder=path.parent, **about)
    except (yaml.YAMLError, ValidationError, TypeError) as error:
        raise VpauditError(f"{path} is not a card: {error}", "docs/extending.md says what it holds") from None


def card(name: str) -> Card:
    """The card of one experiment."""
    known = cards()
    if name not in known:
        raise VpauditError(f"no experiment {name!r}", f"known: {', '.join(sorted(known))}")
    return known[name]


def names(kind: str) -> list[str]:
    """The experiments of a kind."""
    return [name for name, about in cards().items() if about.kind == kind]


def figures(target: str | None = None) -> list[str]:
    """The experiments that have a figure; of one target, or of all."""
    return [name for name, about in cards().items() if about.has_figure and target in (None, about.target)]


def module(name: str, part: str) -> ModuleType:
    """A module of an experiment: run, figure, claims or settings."""
    if not (card(name).folder / f"{part}.py").exists():
        raise VpauditError(f"experiment {name} has no {part}.py", "docs/extending.md says what it holds")
    return importlib.import_module(f"vpaudit.experiments.{name}.{part}")


def mu(config: Config, name: str) -> list[float]:
    """The mu at which an experiment runs."""
    return config.mechanism.mu if card(name).grid == "study" else config.experiments.mu


def images(config: Config, name: str) -> int:
    """How many of the study's images an experiment takes."""
    return min(config.experiments.images, card(name).images or config.experiments.images)


def settings_model(name: str) -> type[Section]:
    """The model of the experiment's own section; `Section` itself, which knows no key, if it has none."""
    return module(name, "settings").Settings if (card(name).folder / "settings.py").exists() else Section


def settings(config: Config, name: str) -> Section:
    """The experiment's own section of the configuration, checked; an empty one if it has none.

    Raises:
        VpauditError: a key or value is wrong.
    """
    given = config.experiments.settings.get(name, {})
    return checked(settings_model(name), given, f"experiments.settings.{name} is not valid")


def depends_on(config: Config, name: str) -> dict:
    """The part of the configuration on which an experiment's table depends, as plain values."""
    own = settings(config, name).model_dump(mode="json")
    return {**depends.settings(config, "experiments"), "images": images(config, name), "settings": own}


def check(config: Config) -> None:
    """Refuse a configuration that names an experiment which does not exist, or gives it settings it does not know.

    Raises:
        VpauditError: naming the nearest that exists.
    """
    claiming = [name for name, about in cards().items() if about.has_claims]
    places = (
        ("with_study", claiming, config.experiments.with_study),
        ("settings", list(cards()), config.experiments.settings),
    )
    for key, known, given in places:
        for name in given:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1) or [", ".join(known)]
                raise VpauditError(f"experiments.{key}: no experiment {name!r}", f"did you mean {near[0]}?")
    for name in config.experiments.settings:
        settings(config, name)
