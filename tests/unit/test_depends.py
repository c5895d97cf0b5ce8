"""What a stage depends on: code found by its imports, keys of the configuration, and rules that ask for both."""

import re
import shutil
import subprocess
import sys

import pytest

from vpaudit.commands.docs import pipeline
from vpaudit.study import config, depends


def names(paths) -> set[str]:
    return {str(path.relative_to(depends.PACKAGE)) for path in paths}


@pytest.mark.parametrize("stage", depends.STAGES)
def test_every_stage_is_found_with_its_own_file(stage):
    assert depends.STAGES[stage].replace(".", "/") + ".py" in names(depends.code(stage))


def test_an_import_inside_a_function_counts():
    """stages/bounds.py imports privacy/bound_table inside `bounds`."""
    assert "privacy/bound_table.py" in names(depends.code("bounds"))
    assert "privacy/success.py" not in names(depends.code("bounds"))


def test_imports_of_imports_and_cards_beside_a_module_count():
    found = names(depends.code("reconstruct"))
    assert {"attack/reconstruct.py", "sampling/samplers.py", "base/randomness.py", "priors/cards.yaml"} <= found


def test_unrelated_modules_do_not_count():
    found = names(depends.code("reconstruct"))
    assert not {name for name in found if name.startswith(("measure/", "report/", "data/", "experiments/"))}
    assert not {name for name in names(depends.code("collect")) if name.startswith(("report/", "attack/"))}


EDITS = """
import sys
from vpaudit.study import depends
before = depends.code("reconstruct")
print(all(path.exists() for path in before), sys.argv[1] in {str(p.relative_to(depends.PACKAGE)) for p in before})
"""


@pytest.mark.parametrize(
    ("line", "counts"), [("import vpaudit.toy", True), ("def f():\n    from vpaudit import toy", True), ("", False)]
)
def test_a_new_import_is_noticed_without_being_listed(tmp_path, line, counts):
    """In a copy of the package, a module is a dependency from the moment in which the stage's code imports it."""
    copy = shutil.copytree(depends.PACKAGE, tmp_path / "vpaudit", ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "toy.py").write_text("")
    source = copy / "sampling" / "samplers.py"
    source.write_text(f"{source.read_text()}\n{line}\n")
    done = subprocess.run(
        [sys.executable, "-c", EDITS, "toy.py"], capture_output=True, text=True, env={"PYTHONPATH": str(tmp_path)}
    )
    assert done.stdout.split() == ["True", str(counts)], done.stderr


def test_rules_ask_for_known_stages_and_settings(root):
    text = "\n".join(path.read_text() for path in (root / "rules").glob("*.smk"))
    asked = set(re.findall(r'\b(?:code|stage)\(\s*"(\w+)"', text))
    assert asked <= set(depends.STAGES)
    assert set(depends.STAGES) - {"closing"} <= asked | {"experiment"}
    assert set(re.findall(r'\bsettings\("(\w+)"', text)) <= set(depends.SETTINGS)


@pytest.mark.parametrize("group", depends.SETTINGS)
def test_keys_are_keys_of_the_configuration(group):
    assert list(depends.settings(config.Config(), group)) == depends.keys(group)


def test_a_key_that_is_left_out_leaves_its_section_key_by_key():
    assert depends.keys("privatize") == ["seed", *(f"mechanism.{k}" for k in ("max_grad_norm", "release", "delta"))]
    assert depends.keys("bounds") == ["bounds", "mechanism"]


def test_dvc_names_folders_of_the_science_and_files_of_what_serves_many_stages():
    text = pipeline.code("privatize")
    assert "workflow/vpaudit/privacy\n" in text
    assert "workflow/vpaudit/stages/privatize.py" in text
    assert "workflow/vpaudit/stages/reconstruct.py" not in text


def test_a_stage_depends_only_on_its_own_part():
    base = config.Config()
    style = config.resolve({"figures": {"style": "other"}})
    more = config.resolve({"mechanism": {"mu": [1, 2, 3, 5, 10, 20, 50, 100, 200]}})
    longer = config.resolve({"prior": {"training": {"images_seen": 5}}})
    for stage in ("data", "privatize", "reconstruct", "evaluate"):
        for other in (style, more, longer):
            assert depends.settings(base, stage) == depends.settings(other, stage)
    assert depends.settings(base, "figures") != depends.settings(style, "figures")
    assert depends.settings(base, "bounds") != depends.settings(more, "bounds")
    redacted = config.resolve({"report": {"redact": True}})
    assert depends.settings(redacted, "report")["report"] == {"redact": True}
    assert depends.settings(base, "report")["report"] == {"redact": False}
    assert depends.settings(base, "figures") == depends.settings(redacted, "figures")
    seed = config.resolve({"seed": 1})
    for stage in ("data", "privatize", "reconstruct", "evaluate"):
        assert depends.settings(base, stage) != depends.settings(seed, stage)
