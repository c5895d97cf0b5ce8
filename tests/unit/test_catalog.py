"""An experiment is a folder: a toy one, laid out anywhere, gets table, figure, caption and documentation."""

import os
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pandas as pd
import pytest

from vpaudit import experiments
from vpaudit.base.errors import VpauditError
from vpaudit.commands.docs import engine
from vpaudit.experiments import bench, catalog, stage
from vpaudit.study import config as configuration
from vpaudit.study import depends
from vpaudit.study.layout import Layout

FILES = {
    "run.py": """
import pandas as pd


def run(bench):
    values = {"image": [0, 1, 2], "value": [1.0, 1.1, 1.2]}
    return pd.DataFrame(values).assign(dataset="toys", mu=bench.mu, metric="mse", colour="red")
""",
    "figure.py": """
from vpaudit.report.figures.panels import intervals, lines, read


def draw(results, style):
    numbers = intervals(read(results, "experiments/toy"), ["colour", "mu"])
    return lines(numbers, "mu", "colour", style, 0.5).figure, numbers
""",
    "claims.py": """
from vpaudit.report.claims import Claim


def of(table):
    value = table["value"].mean()
    return [Claim("toys_are_red", "Toys are red", "ours", "share", value, value, value, len(table), "confirmed")]
""",
    "settings.py": """
from pydantic import Field

from vpaudit.study.config import Section


class Settings(Section):
    size: int = Field(3, ge=1, description="of the toy")
""",
    "card.yaml": """
title: Toys
kind: each mu
images: 2
columns: [colour]
caption: Toys by colour.
section: Playground
order: 5
question: Are toys red?
answer: |-
  Yes, {{ row("mu == 2") }} of {{ n() }}, most at µ = {{ most("colour == 'red'").mu }}.
""",
}


@pytest.fixture
def toy(tmp_path, monkeypatch) -> Path:
    """The folder of the toy, found as VPAUDIT_EXPERIMENTS would have it found."""
    folder = tmp_path / "mine" / "toy"
    folder.mkdir(parents=True)
    for name, text in FILES.items():
        (folder / name).write_text(text)
    monkeypatch.setattr(experiments, "__path__", [*experiments.__path__, str(folder.parent)])
    yield folder
    for name in [name for name in sys.modules if name.startswith("vpaudit.experiments.toy")]:
        del sys.modules[name]
    depends._file.cache_clear()


@pytest.fixture
def study(tmp_path):
    """A study of two mu."""
    config = configuration.resolve({"experiments": {"mu": [2, 5], "with_study": ["toy"]}})
    layout = Layout(config)
    layout.results, layout.figures = tmp_path / "results", tmp_path / "figures" / "embedded"
    configuration.save(config, layout.config)
    return config, layout


def test_its_stages_make_table_figure_caption_claims_and_documentation(toy, study, monkeypatch, tmp_path):
    config, layout = study
    monkeypatch.setattr(bench, "Bench", lambda config, layout, mu, images, device: types.SimpleNamespace(mu=mu))
    catalog.check(config)
    for mu in ("2", "5"):
        stage.experiment(config, layout, "toy", mu)
    stage.experiment_table(config, layout, "toy")
    table = pd.read_parquet(layout.experiment("toy"))
    assert set(table["mu"]) == {2, 5}
    stage.experiment_figure(config, layout, "toy")
    assert layout.experiment_figure("toy", "png").read_bytes().startswith(b"\x89PNG")
    assert layout.experiment_figure("toy", "txt").read_text().startswith("Toys by colour. n and the 95 % interval")
    stage.experiment_claims(config, layout, "toy")
    assert '"toys_are_red"' in layout.experiment_claims("toy").read_text()
    monkeypatch.setattr(engine, "FIGURES", tmp_path / "figures")
    part = next(part for part in engine.page()["sections"] if part["name"] == "toy")
    assert part["question"] == "Are toys red?"
    assert part["answer"] == "Yes, 1.1 [0.852, 1.35] of 3, most at µ = 2."


def test_the_graph_plans_it(toy, root, tmp_path):
    """`snakemake toy` in a copy, of which nothing is changed."""
    copy = tmp_path / "copy"
    shutil.copytree(root / "config", copy / "config")
    for name in ("Snakefile", "rules", "workflow", "resources", "profiles", "benchmarks", "environment.yml"):
        (copy / name).symlink_to(root / name)
    environment = {**os.environ, "VPAUDIT_EXPERIMENTS": str(toy.parent), "PYTHONPATH": str(root / "workflow")}
    command = [Path(sys.executable).parent / "snakemake", "-n", "--config", "experiments={mu: [2, 5]}", "--", "toy"]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout
    jobs = dict(line.split()[:2] for line in done.stdout.split("Job stats:")[1].splitlines() if len(line.split()) == 2)
    planned = {"experiment": "2", "experiment_table": "1", "experiment_figure": "1", "experiment_claims": "1"}
    assert planned.items() <= jobs.items()
    assert f"{toy}/run.py" in done.stdout


def test_what_it_depends_on_is_its_code_and_its_settings_and_not_its_card(toy):
    files = depends.code_of_module("experiments.toy.run")
    assert toy / "run.py" in files
    assert toy / "card.yaml" not in files
    config = configuration.resolve({"experiments": {"settings": {"toy": {"size": 4}}, "images": 9}})
    assert catalog.depends_on(config, "toy")["settings"] == {"size": 4}
    assert catalog.images(config, "toy") == 2


@pytest.mark.parametrize(
    ("overlay", "message"),
    [
        ({"settings": {"toy": {"sice": 4}}}, "did you mean 'size'"),
        ({"settings": {"toy": {"size": 0}}}, "greater than or equal to 1"),
        ({"settings": {"tay": {}}}, "did you mean toy"),
        ({"settings": {"calls": {"size": 1}}}, "unknown key 'size'"),
        ({"with_study": ["calls"]}, "experiments.with_study"),
    ],
)
def test_a_wrong_configuration_is_named(toy, overlay, message):
    with pytest.raises(VpauditError, match=message):
        catalog.check(configuration.resolve({"experiments": overlay}))


@pytest.mark.parametrize(
    ("text", "message"), [("title: [", "not a card"), ("titel: x\nkind: figure", "titel"), ("", "not a card")]
)
def test_a_wrong_card_is_named(toy, text, message):
    (toy.parent / "bad").mkdir()
    (toy.parent / "bad" / "card.yaml").write_text(text)
    with pytest.raises(VpauditError, match=message):
        catalog.cards()


def test_an_answer_that_asks_for_what_is_not_there_names_its_card(toy):
    table = pd.DataFrame({"mu": [1.0, 1.0], "value": [1.0, 2.0], "n": 3})
    for query in ('{{ row("mu == 1") }}', '{{ most("mu == 7") }}', '{{ least("size == 1") }}', "{{ size }}"):
        about = catalog.card("toy").model_copy(update={"answer": query})
        with pytest.raises(VpauditError, match=r"toy/card\.yaml"):
            engine.answer(about, table)


def test_the_catalog_and_the_command_line_need_neither_torch_nor_matplotlib():
    code = "import sys; from vpaudit.experiments import catalog; catalog.cards(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "matplotlib", "pandas"} & set(loaded)
