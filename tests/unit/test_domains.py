"""Studies of several data sets side by side: curves, claims, ends of reconstruction, figure and picture."""

import fake_results
import numpy as np
import pandas as pd
import pytest
import yaml

from vpaudit.base.errors import VpauditError
from vpaudit.commands.main import main
from vpaudit.report import domains
from vpaudit.report.results import Results
from vpaudit.study import config as configuration

NAMES = ("clothes", "colours")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = []
    for name in NAMES:
        folder = fake_results.write(tmp_path_factory.mktemp("results") / name, colour=name == "colours")
        config = yaml.safe_load((folder / "config.yaml").read_text())
        (folder / "config.yaml").write_text(
            yaml.safe_dump(config | {"study": name, "prior": {"path": "priors/invented"}})
        )
        made.append(folder)
    return made


def test_one_command_puts_studies_side_by_side(folders, tmp_path, capsys):
    results, figures = tmp_path / "results", tmp_path / "figures"
    places = ["--results", str(results), "--figures", str(figures)]
    assert main(["domains", *map(str, folders), "--show", "clothes", *places]) == 0
    assert "claims.csv" in capsys.readouterr().out
    kinds = ("csv", "pdf", "png", "txt")
    assert sorted(p.name for p in figures.iterdir()) == [
        f"{n}.{kind}" for n in ("domains", "picture") for kind in kinds
    ]
    assert set(pd.read_csv(figures / "picture.csv")["study"]) == {"clothes"}
    curves = pd.read_csv(figures / "domains.csv")
    assert set(curves["study"]) == set(NAMES)
    mine = curves[(curves["study"] == "colours") & (curves["metric"] == "ssim") & (curves["look"] == "ddim")]
    own = Results(folders[1]).curve("unconditional", "ddim", "ssim")
    assert mine["value"].to_numpy() == pytest.approx(own["value"].to_numpy(), rel=1e-5)
    claims = pd.read_csv(results / "claims.csv")
    assert claims.groupby("name")["study"].nunique().eq(2).all()
    studies = pd.read_csv(results / "studies.csv").set_index("study")
    assert (studies["side"] == 16).all()
    assert (studies["hours"] > 0).all()
    ends = pd.read_csv(results / "endings.csv")
    assert set(ends["margin"]) == {0.01, 0.05, 0.1}
    assert (ends["low"] <= ends["at_5"]).all()
    assert (ends["at_5"] <= ends["high"]).all()


def test_what_is_recognised_stands_side_by_side_without_the_studies_curves(folders, tmp_path):
    for folder in folders:
        (folder / "experiments").mkdir(exist_ok=True)
        about = {"metric": "mse", "attack": "posterior_mean", "told": True, "among": 10}
        table = pd.DataFrame({"mu": np.repeat([1.0, 5.0], 30), "value": np.repeat([0.0, 0.9], 30), **about})
        table.to_parquet(folder / "experiments/recognition.parquet")
    places = ["--results", str(tmp_path), "--figures", str(tmp_path / "figures")]
    assert main(["domains", "--recognised", *map(str, folders), *places]) == 0
    ends = pd.read_csv(tmp_path / "recognition.csv").set_index("study")
    assert ends[["hidden", "seen"]].to_numpy().tolist() == [[1, 5], [1, 5]]
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == [
        f"recognition.{kind}" for kind in ("csv", "pdf", "png", "txt")
    ]
    assert set(pd.read_csv(tmp_path / "figures/recognition.csv")["study"]) == set(NAMES)


def test_no_study_at_all_is_refused(capsys):
    assert main(["domains"]) == 2
    assert "no study is named" in capsys.readouterr().err


def test_images_that_may_not_be_shown_make_no_picture(folders, tmp_path):
    domains.write(domains.studies(folders), tmp_path / "results", tmp_path / "figures", [])
    assert not (tmp_path / "figures/picture.png").exists()


def test_a_study_that_is_not_finished_or_named_twice_is_refused(folders, tmp_path):
    (tmp_path / "config.yaml").write_text("study: half\n")
    with pytest.raises(VpauditError, match="holds no summary"):
        domains.studies([tmp_path])
    with pytest.raises(VpauditError, match="same name: clothes, clothes"):
        domains.studies([folders[0], folders[0]])


@pytest.mark.parametrize("name", ["faces", "xrays", "portraits", "photographs"])
def test_every_domain_is_a_valid_study(root, name):
    config = configuration.load(root / "config/domains.yaml", root / f"config/domains/{name}.yaml")
    assert config.study == name
    assert np.all(np.diff(config.mechanism.mu) > 0)
    assert {"posterior_mean", "posterior_mean_untold", "ddim", "ddim_blind", "ddpm"} <= {a.name for a in config.attacks}
