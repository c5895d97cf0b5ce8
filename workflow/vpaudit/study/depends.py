"""What a stage depends on, said once: rules, checkpoints and dvc.yaml all ask here.

Code is found, not listed: a stage's function, and every module of the package that it imports, directly or through
others, at the top of a file or inside a function. Files beside such a module that are no Python (cards, templates)
count with it. Settings are listed below, as keys of the configuration.
"""

import ast
import json
import sys
from functools import lru_cache, reduce
from operator import getitem
from pathlib import Path

from vpaudit.base.places import PACKAGE
from vpaudit.study.config import Config

# Name of a stage: the module that holds the function of that name.
STAGES = {
    "targets": "stages.data",
    "public": "stages.data",
    "overlap": "stages.data",
    "prior": "stages.priors",
    "few_step": "stages.priors",
    "fit_gaussian": "stages.priors",
    "privatize": "stages.privatize",
    "reconstruct": "stages.reconstruct",
    "baseline": "stages.evaluate",
    "evaluate": "stages.evaluate",
    "domain": "stages.domain",
    "participation": "stages.participation",
    "believed": "stages.believed",
    "recognised": "stages.recognised",
    "bounds": "stages.bounds",
    "collect": "stages.report",
    "summary": "stages.report",
    "figure": "stages.report",
    "latex": "stages.report",
    "report": "stages.report",
    "closing": "stages.report",
    "experiment": "experiments.stage",
    "experiment_table": "experiments.stage",
    "experiment_figure": "experiments.stage",
    "experiment_claims": "experiments.stage",
}
# Keys on which the outputs of a group of rules depend, besides their input files; "-" leaves a key out. Snakemake runs
# a rule again when one of them changes, DVC records them; any other (figures.style for reconstruct) runs nothing again.
SETTINGS = {
    "data": "seed data",
    "prior": "data.name prior.training",
    "few_step": "data.name prior.few_step",
    "privatize": "seed mechanism -mechanism.mu",
    "reconstruct": "seed prior -prior.training -prior.few_step attacks success -success.thresholds -success.metrics "
    "mechanism.max_grad_norm jobs.store",
    "participation": "seed rounds prior -prior.training -prior.few_step attacks mechanism.max_grad_norm jobs.store "
    "evaluate -evaluate.margin",
    "believed": "seed recognition.mu recognition.calibration rounds prior -prior.training -prior.few_step attacks "
    "mechanism.max_grad_norm jobs.store",
    "recognised": "seed recognition.mu rounds.noise_multiplier",
    "evaluate": "seed evaluate -evaluate.margin success.metrics mechanism.max_grad_norm",
    "bounds": "bounds mechanism",
    "summary": "mechanism.mu study success evaluate.margin experiments.with_study",
    "experiments": "seed data.name mechanism -mechanism.mu prior -prior.training -prior.few_step",
    "figures": "figures mechanism.mu",
    "report": "study report",
}
# Settings are compared by value and paths by the files at their end, so an edit of these runs nothing again.
NO_RESULT = {PACKAGE / f"{name}.py" for name in (
    "__init__", "base/errors", "base/places", "study/config", "study/layout", "study/depends", "study/checkpoints",
)}  # fmt: skip
CARD = "card.yaml"  # what is said of an experiment, not what it does
OTHER_FILES = (".yaml", ".html", ".css", ".js", ".md")


def keys(group: str) -> list[str]:
    """The keys of a group of `SETTINGS`; a section of which one is left out is given key by key."""
    words = SETTINGS[group].split()
    without = [word.removeprefix("-") for word in words if word.startswith("-")]
    found = []
    for word in (word for word in words if not word.startswith("-")):
        section = Config.model_fields[word.split(".")[0]].annotation
        parts = [f"{word}.{name}" for name in getattr(section, "model_fields", ())]
        found += [part for part in parts if part not in without] if set(parts) & set(without) else [word]
    return found


def settings(config: Config, group: str) -> dict:
    """Their values, plain."""
    plain = json.loads(config.model_dump_json())
    return {key: reduce(getitem, key.split("."), plain) for key in keys(group)}


def code(stage: str) -> list[Path]:
    """Source files on which a stage's outputs depend, sorted; `stage` is a name of `STAGES`."""
    module = STAGES[stage]
    path = _file(f"vpaudit.{module}")
    tree = _tree(path)
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    reached, waiting = set(), [stage]
    while waiting:  # the stage's function and what it calls in the same file
        name = waiting.pop()
        reached.add(name)
        names = {node.id for node in ast.walk(functions[name]) if isinstance(node, ast.Name)}
        waiting += (names & functions.keys()) - reached
    others = [node for node in tree.body if node not in functions.values()]
    return _closure({path}, _imports([*others, *(functions[name] for name in reached)]))


def code_of_module(name: str) -> list[Path]:
    """The same of a whole module, e.g. "report.figures.curves"."""
    path = _file(f"vpaudit.{name}")
    return _closure({path}, _imports(_tree(path).body))


def _closure(found: set[Path], waiting: set[Path]) -> list[Path]:
    waiting = set(waiting)
    while waiting:
        path = waiting.pop()
        if path in found or path in NO_RESULT:
            continue
        found.add(path)
        waiting |= _imports_of(path)
    folders = {path.parent for path in found}
    beside = {p for folder in folders for p in folder.iterdir() if p.suffix in OTHER_FILES and p.name != CARD}
    # a file that is called as a module is that module's texts, and goes with it
    others = {p for p in beside if p.with_suffix(".py").exists() and p.with_suffix(".py") not in found}
    return sorted(found | beside - others)


@lru_cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@lru_cache
def _imports_of(path: Path) -> frozenset[Path]:
    return frozenset(_imports(_tree(path).body))


def _imports(nodes: list) -> set[Path]:
    """Files of the package that these nodes import; a package counts with its __init__."""
    names = set()
    for top in nodes:
        for node in ast.walk(top):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {path for name in names if name.split(".")[0] == "vpaudit" and (path := _file(name))}


@lru_cache
def _file(name: str) -> Path | None:
    """Where a module is; a package that is loaded may have folders elsewhere, as that of the experiments has."""
    _, *parts = name.split(".")
    package = sys.modules.get(f"vpaudit.{parts[0]}") if parts else None
    folders = map(Path, getattr(package, "__path__", [PACKAGE.joinpath(*parts[:1])]))
    bases = [folder.joinpath(*parts[1:]) for folder in folders]
    paths = [path for base in bases for path in (base.with_suffix(".py"), base / "__init__.py")]
    return next((path for path in paths if path.exists()), None)
