"""Each study of real domains as it is shipped (prior, data, attacks, metrics), cut down to a few images and steps.

Snakemake plans the jobs by the real rules, and their commands run one after the other in this process, because starting
Python and torch for each would take longer than most of them.
"""

import contextlib
import json
import os
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from test_smoke import make_copy, read, snakemake

from vpaudit.commands.main import main
from vpaudit.study import config as configuration

SHARED = Path(os.environ.get("VPAUDIT_SHARED_DATA") or Path(__file__).parents[3] / "shared" / "data")
pytestmark = pytest.mark.skipif(not SHARED.exists(), reason=f"{SHARED} is not here: archives of data/cards.yaml")
DOMAINS = "config/domains.yaml"
STUDIES = {  # side, images, mu
    "cifar10": (32, 4, [5, 100]),
    "faces": (64, 4, [5, 100]),
    "xrays": (64, 4, [5, 100]),
    "portraits": (256, 2, [100]),
    "photographs": (256, 2, [100]),
}
LEFT_OUT = ("posterior_mean_untold", "ddim_blind")  # no claim rests on them
# Claims that one mu of 100, or two images, say nothing of.
OF_MORE = ("success grows with µ", "output is unrelated at small µ", "agreement predicts success")
DRAWN = ("metrics_vs_mu", "reconstructions")


def cut_down(copy: Path, name: str) -> list[str]:
    """The study's configuration files, and one that leaves it fewer images, mu, steps, draws and attacks."""
    files, (_, images, mu) = [DOMAINS, f"config/domains/{name}.yaml"], STUDIES[name]
    shipped = configuration.load(*(copy / file for file in files))
    attacks = [a.model_dump() | {"steps": min(a.steps, 2), "draws": min(a.draws, 2)} for a in shipped.attacks]
    own = {
        "data": {"images": images},
        "prior": {"rows": images},
        "mechanism": {"mu": mu},
        "attacks": [attack for attack in attacks if attack["name"] not in LEFT_OUT],
        "evaluate": {"unrelated": 1},
        "bounds": {"candidates": 200},
    }
    (copy / f"config/cut_{name}.yaml").write_text(yaml.safe_dump(own))
    return [*files, f"config/cut_{name}.yaml"]


def planned_commands(copy: Path, name: str) -> list[list[str]]:
    """Arguments of `vpaudit` of every job up to the summary and two figures, each after those whose files it reads."""
    wanted = [f"results/{name}/summary.json", *(f"figures/{name}/{figure}.png" for figure in DRAWN)]
    plan = ("--dry-run", "--printshellcmds", "--configfile", *cut_down(copy, name))
    done = snakemake(copy, *plan, "--", *wanted, configfile="")
    assert done.returncode == 0, done.stderr[-5000:]
    start = "Shell command: python -m vpaudit "
    return [shlex.split(line.removeprefix(start)) for line in done.stdout.splitlines() if line.startswith(start)]


@pytest.fixture(scope="module")
def copy(root, tmp_path_factory):
    return make_copy(root, tmp_path_factory.mktemp("domains") / "repository")


@pytest.fixture(scope="module", params=STUDIES)
def study(request, copy):
    """(name, copy) of a study whose every job has run."""
    commands = planned_commands(copy, request.param)
    with contextlib.chdir(copy), pytest.MonkeyPatch.context() as patch:
        patch.setenv("VPAUDIT_DATA", str(SHARED))
        for command in commands:
            assert main(command) == 0, command
    return request.param, copy


def test_config_prior_data_and_attacks_of_a_domain_work_together(study):
    """Every image is measured once by each metric, is closer at more mu, and at mu = 100 closer under the prior."""
    name, copy = study
    side, images, mu = STUDIES[name]
    with np.load(copy / f"results/{name}/targets.npz") as file:
        assert file["images"].shape[:3] == (images, side, side)
    metrics = read(copy, "metrics", name)
    lpips = "lpips_vgg_64" if side < 64 else "lpips_vgg"
    assert set(metrics["metric"]) == {"mse", "psnr", "ssim", "ncc", lpips}
    assert metrics.groupby(["prior", "attack", "mu", "draw", "metric"]).size().eq(images).all()
    assert np.isfinite(metrics["value"]).all()
    mse = metrics.query("metric == 'mse'").pivot_table("value", ["prior", "attack"], "mu")
    assert list(mse) == mu
    if len(mu) > 1:
        assert (mse[100] < 0.7 * mse[5]).all(), mse
    of = mse[100]
    assert of["unconditional", "posterior_mean"] < of["gaussian", "wiener"] < 0.8 * of["none", "raw"]


def test_the_summary_of_a_domain_has_every_claim(study, root):
    """Those on record of a study with as many kinds of attack; success stays within the theorem's bound."""
    name, copy = study
    _, images, mu = STUDIES[name]
    summary = json.loads((copy / f"results/{name}/summary.json").read_text())
    recorded = pd.read_csv(root / "results/domains/claims.csv")
    wanted = set(recorded.loc[recorded["study"] == ("faces" if len(mu) == 1 else name), "name"])
    found = {claim["name"]: claim for claim in summary["claims"]}
    assert set(found) == {claim for claim in wanted if len(mu) > 1 or not claim.startswith(OF_MORE)}
    assert found["success stays within the theorem's bound"]["verdict"] == "confirmed"
    assert found["beats the uninformed adversary"]["value"] < 1
    assert (summary["images"], summary["mu"]) == (images, mu)


def test_the_figures_of_a_domain_are_drawn(study):
    name, copy = study
    for path in (copy / "figures" / name / figure for figure in DRAWN):
        assert all(path.with_suffix(kind).stat().st_size > 50 for kind in (".pdf", ".csv", ".txt"))
        assert np.array(Image.open(path.with_suffix(".png")).convert("L")).std() > 5
