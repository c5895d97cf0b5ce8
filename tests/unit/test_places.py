"""Which folder studies run in, and where shipped files are found."""

import runpy

import pytest

from vpaudit.base import places
from vpaudit.priors import find


@pytest.fixture
def working_copy(tmp_path):
    (tmp_path / "rules").mkdir()
    for name in ("Snakefile", "rules/common.smk"):
        (tmp_path / name).touch()
    return tmp_path


def test_the_working_folder_is_the_nearest_that_was_asked_for(working_copy, tmp_path_factory, monkeypatch):
    bare = tmp_path_factory.mktemp("bare")
    monkeypatch.delenv("VPAUDIT_HOME", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(bare / "cache"))
    monkeypatch.chdir(bare)
    assert places.home() == places.CLONE
    monkeypatch.setattr(places, "CLONE", None)
    assert places.home() == bare / "cache/vpaudit"
    monkeypatch.chdir(working_copy)
    assert places.home() == working_copy
    monkeypatch.setenv("VPAUDIT_HOME", str(bare / "mine"))
    assert places.home() == bare / "mine"


def test_the_working_folders_own_file_goes_before_the_shipped_one(working_copy, monkeypatch):
    monkeypatch.setenv("VPAUDIT_HOME", str(working_copy))
    name = "resources/priors/fashion_mnist_dit/card.json"
    assert places.resource(name) == places.SHIPPED / name
    assert find.folder("fashion_mnist_dit") == places.SHIPPED / "resources/priors/fashion_mnist_dit"
    (working_copy / name).parent.mkdir(parents=True)
    (working_copy / name).touch()
    assert places.resource(name) == working_copy / name
    assert places.priors()["fashion_mnist_dit"] == working_copy / "resources/priors/fashion_mnist_dit"


def test_every_prior_is_in_one_wheel_that_fits_and_says_what_it_may_be_used_for(root):
    for parts in (places.WORKFLOW, places.MORE_PRIORS):
        assert sum(path.stat().st_size for path in places.files_of(root, parts)) < 100 * 10**6
    for folder in (root / "resources/priors").glob("*/"):
        carried = [f"resources/priors/{folder.name}" in parts for parts in (places.WORKFLOW, places.MORE_PRIORS)]
        assert sorted(carried) == [False, True]
        terms = root / f"packaging/licences/{folder.name}.txt"
        if terms.exists():
            assert (folder / "LICENSE").read_text(encoding="utf-8") == terms.read_text(encoding="utf-8")


def test_what_is_trained_to_be_shipped_has_its_terms_and_its_wheel(root):
    script = runpy.run_path(str(root / "benchmarks/train_priors.py"))
    for name in script["SETS"]:
        assert (script["LICENCES"] / f"{name}.txt").read_text(encoding="utf-8").startswith("These network weights")
        assert f"resources/priors/{name}" in (*places.WORKFLOW, *places.MORE_PRIORS)


def test_a_repository_around_an_installed_package_is_not_its_commit(monkeypatch):
    monkeypatch.setattr(places, "CLONE", None)
    assert places.commit() == "not known"
