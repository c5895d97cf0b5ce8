"""Facts of docs/architecture.md: the packages in their layers, and which imports which."""

import ast
import itertools
import tomllib
from pathlib import Path

import grimp

from vpaudit.study import depends


def packages() -> dict:
    """Packages from the top layer down, each with its docstring; imports (importer, imported) that no others imply."""
    contracts = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    return {
        "packages": [{"name": name, "about": _about(name)} for name in layers],
        "imports": _reduced(_imports(layers)),
    }


def _about(name: str) -> str:
    source = (depends.PACKAGE / name / "__init__.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(source)) or "").split("\n")[0].replace("|", "\\|")


def _imports(layers: list[str]) -> set[tuple[str, str]]:
    graph = grimp.build_graph("vpaudit", cache_dir=None)
    return {
        (a, b)
        for a, b in itertools.combinations(layers, 2)  # upwards nothing is imported, by contract
        if graph.direct_import_exists(importer=f"vpaudit.{a}", imported=f"vpaudit.{b}", as_packages=True)
    }


def _reduced(imports: set[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those without a longer way round: a -> c goes where a -> b and b leads to c."""
    reach = set(imports)
    for b, a, c in itertools.product({name for pair in imports for name in pair}, repeat=3):
        if (a, b) in reach and (b, c) in reach:
            reach.add((a, c))
    between = {(a, c) for a, b in imports for b2, c in reach if b == b2}
    return sorted(imports - between)
