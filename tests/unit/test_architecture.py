"""Where code may stand and what it may import; formats and pins."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


def test_packages_stand_in_layers(root):
    """The contracts of pyproject.toml: layers, an attack that knows no target and no metric, figures without torch."""
    linter = Path(sys.executable).parent / "lint-imports"
    environment = {**os.environ, "PYTHONPATH": str(root / "workflow")}
    done = subprocess.run([linter, "--no-cache"], cwd=root, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout


def test_only_pixels_converts_pixel_ranges(root):
    """127.5 and 255 stand in pixels.py; the digits' 0 to 16 are brought to bytes where they are read."""
    found = {path.name for path in (root / "workflow").rglob("*.py") if re.search(r"\b127\.5\b", path.read_text())}
    assert found == {"pixels.py"}


@pytest.mark.parametrize(
    "module", ["report.figures", "report.page", "stages.report", "stages.bounds", "study.config", "commands.main"]
)
def test_tables_and_plots_never_import_torch(module):
    code = f"import sys, vpaudit.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_environment_files_carry_the_same_pins(root):
    """environment.yml installs the lock and nothing else; every dependency is pinned once and admitted."""
    import tomllib

    import yaml
    from packaging.requirements import Requirement

    environment = yaml.safe_load((root / "environment.yml").read_text())
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    python = next(d for d in environment["dependencies"] if str(d).startswith("python="))
    assert python == "python=" + project["requires-python"].removeprefix(">=")
    pip = next(d["pip"] for d in environment["dependencies"] if isinstance(d, dict))
    assert pip == ["-r requirements.lock", "-e . --no-deps"]
    pins: dict[str, list[str]] = {}
    for line in (root / "requirements.lock").read_text().splitlines():
        if "==" in line and not line.startswith((" ", "#")):
            requirement = Requirement(line.rstrip("\\ "))
            pins.setdefault(requirement.name, []).append(next(iter(requirement.specifier)).version)
    extras = project["optional-dependencies"]
    for text in [*project["dependencies"], *extras["dev"], *extras["peers"], *extras["medical"]]:
        requirement = Requirement(text)
        assert requirement.name in pins, f"{requirement.name} is not in the lock"
        assert all(requirement.specifier.contains(version) for version in pins[requirement.name]), text


def test_an_installed_package_finds_what_it_imports(root):
    """Every library that it imports, or whose version a run states, is a dependency; `vpaudit docs` is for clones."""
    import ast
    import tomllib
    from importlib.metadata import packages_distributions

    from packaging.requirements import Requirement

    from vpaudit.report.paper_claims import PACKAGES

    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["medical"]]
    names = {Requirement(text).name for text in asked} | {"vpaudit"}
    assert set(PACKAGES) <= names
    imported = set()
    for path in {*(root / "workflow/vpaudit").rglob("*.py")} - {
        *(root / "workflow/vpaudit/commands/docs").glob("*.py")
    }:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {name.name.split(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                imported.add(node.module.split(".")[0])
    made_by = packages_distributions()
    libraries = {name.lower().replace("_", "-") for module in imported for name in made_by.get(module, [])}
    assert libraries <= names


def test_workflow_is_formatted_and_linted(root):
    """snakefmt and `snakemake --lint` have nothing to say."""
    tools = Path(sys.executable).parent
    files = ["Snakefile", *map(str, sorted((root / "rules").glob("*.smk")))]
    done = subprocess.run([tools / "snakefmt", "--check", *files], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    path = f"{tools}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [tools / "snakemake", "--lint"], cwd=root, capture_output=True, text=True, env={**os.environ, "PATH": path}
    )
    assert done.returncode == 0, done.stderr
    assert "Lints for" not in done.stdout + done.stderr


def test_python_is_formatted_and_linted(root):
    ruff = Path(sys.executable).parent / "ruff"
    for arguments in (["check", "."], ["format", "--check", "."]):
        done = subprocess.run([ruff, *arguments], cwd=root, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


def test_rules_need_no_number_of_cores(root):
    """On a cluster none is given, and `workflow.cores` would end the run: rules ask CORES of common.smk."""
    asking = {path.name for path in (root / "rules").glob("*.smk") if "workflow.cores" in path.read_text()}
    assert asking == {"common.smk"}
