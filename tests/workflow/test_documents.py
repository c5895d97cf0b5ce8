"""The examples of docs/api.md and the notebook do what they show."""

import doctest
import re

import nbformat
import pytest
from nbclient import NotebookClient


def test_every_example_of_the_api_page_gives_what_it_says(root):
    """Tracebacks as far as their last lines; numbers as they are rounded there."""
    failed, tried = doctest.testfile(str(root / "docs/api.md"), module_relative=False)
    assert tried > 10
    assert failed == 0


@pytest.fixture(scope="module")
def notebook(root):
    return nbformat.read(root / "docs/quickstart.ipynb", as_version=4)


def test_the_notebook_runs_and_prints_what_it_was_committed_with(root, notebook):
    """Numbers within 10 %, because processors compute the network in different precisions."""
    again = nbformat.from_dict(notebook)
    NotebookClient(again, timeout=300, resources={"metadata": {"path": str(root / "docs")}}).execute()
    for before, after in zip(printed(notebook), printed(again), strict=True):
        assert after == pytest.approx(before, rel=0.1, abs=0.02)


def printed(notebook) -> list[float]:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    texts = [output.text for output in outputs if output.get("name") == "stdout"]
    return [float(number) for text in texts for number in re.findall(r"\d+\.?\d*", text)]


def test_the_notebook_is_short_and_was_run(notebook):
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(notebook.cells) <= 10
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert sum("image/png" in output.get("data", {}) for cell in code for output in cell.outputs) == 3
