"""Claims: the one rule of verdicts, the end of reconstruction, and an invented study whose answers are known."""

import json

import numpy as np
import pandas as pd
import pytest
from fake_results import MU, gains, write

from vpaudit.experiments import stage
from vpaudit.report import claims, paper_claims
from vpaudit.report.results import Results
from vpaudit.study import config as configuration
from vpaudit.study.layout import Layout


def course(*intervals):
    low, high = np.array(intervals, dtype=float).T
    return pd.DataFrame({"mu": [1.0, 2.0, 3.0, 4.0][: len(low)], "value": (low + high) / 2, "low": low, "high": high})


@pytest.mark.parametrize(
    ("intervals", "verdict", "weakest", "caveat"),
    [
        (((1, 2), (0.5, 3)), "confirmed", 1, ""),
        (((1, 2), (-0.5, 3)), "confirmed with a caveat", 1, "Open at µ = 2"),
        (((-1, 2), (-0.5, 3), (1, 2)), "inconclusive", 0, "Open at µ = 1, 2"),
        (((1, 2), (2, 3), (-2, -1)), "not confirmed", 2, "Contradicted at µ = 3"),
    ],
)
def test_one_rule_for_both_directions(intervals, verdict, weakest, caveat):
    up = course(*intervals)
    down = up.assign(value=-up["value"], low=-up["high"], high=-up["low"])
    for table, above in ((up, True), (down, False)):
        found = claims.judge(table, 0, above)
        assert found[:2] == (weakest, verdict)
        assert found[2].startswith(caveat)
        assert bool(found[2]) == bool(caveat)


def test_the_paper_s_unrelated_is_judged_by_a_margin(tmp_path):
    """Shares of 2, 4 and 30 % at mu 1, 5 and 10: less than 5 % up to mu = 5, less than 1 % nowhere."""
    study = Results(write(tmp_path / "results", mu=(1.0, 5.0, 10.0)))
    others, study.metrics = study.others("ddim", "mse"), study.metrics.copy()
    here = study.metrics.query("prior == 'unconditional' and attack == 'ddim' and metric == 'mse'")
    shares = {1.0: 0.02, 5.0: 0.04, 10.0: 0.3}
    values = [(1 - shares[row.mu]) * others.loc[row.image, row.mu] for row in here.itertuples()]
    study.metrics.loc[here.index, "value"] = values
    mse, ssim, _ = paper_claims.end_of_success(study)
    assert (mse.verdict, mse.metric) == ("confirmed", "mse")
    assert "At every µ ≤ 5 less than 5\u00a0% of the distance" in mse.claim
    assert mse.value == pytest.approx(0.04)
    assert [row["value"] for row in mse.by_mu] == pytest.approx(list(shares.values()))
    assert mse.measured.startswith(
        "share recovered by DDIM, most at µ = 5; less than 5\u00a0% up to µ = 5.14, less than 10"
    )
    assert mse.measured.endswith(
        "more than 1\u00a0%, or not shown to be less, at every µ asked (a smaller µ would settle it)"
    )
    assert ssim.verdict == "not confirmed"
    assert "by how much 1 − SSIM is smaller" in ssim.note


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("summary")
    config = configuration.resolve({"study": "invented", "prior": {"path": str(folder / "prior")}})
    layout = Layout(config)
    layout.results = write(folder / "results")
    (layout.results / "experiments").mkdir()
    gains().to_parquet(layout.experiment("dpsgd"), index=False)
    stage.experiment_claims(config, layout, "dpsgd")
    (folder / "prior").mkdir()
    card = {"data": "discs", "parameters": 9, "images_seen": 5, "passes": 1.5, "steps": 5, "steps_planned": 10}
    (folder / "prior" / "card.json").write_text(json.dumps(card))
    return paper_claims.build(config, layout)


def test_what_was_put_in_comes_out(found):
    """Errors fall with mu and follow each image's difficulty; ratios between attacks were put in by hand."""
    claims = {claim["id"]: claim for claim in found["claims"]}
    for name in ("grows_with_mu_mse", "agreement_predicts_mse", "beats_wiener", "wiener_beats_raw", "prior_true_class"):
        assert claims[name]["verdict"] == "confirmed", name
    for name, ratio in (("beats_wiener", 1 / 1.6), ("prior_true_class", 0.8), ("ddim_below_ddpm_mse", 1.3 / 1.8)):
        assert np.median([row["value"] for row in claims[name]["by_mu"]]) == pytest.approx(ratio, rel=0.1), name
    worst = max(claims["beats_wiener"]["by_mu"], key=lambda row: row["high"])
    assert claims["beats_wiener"]["value"] == worst["value"]
    assert [row["mu"] for row in claims["grows_with_mu_mse"]["by_mu"]] == list(MU[1:])


def test_every_claim_is_whole_and_plain_json(found):
    json.dumps(found)
    for claim in found["claims"]:
        assert claim["n"] == (5 if claim["id"].startswith("denoising") else 30)
        assert "{" not in claim["measured"]
        if claim["low"] is not None:
            assert claim["low"] <= claim["value"] <= claim["high"]


def test_what_a_claim_is_about_is_said_in_fields(found):
    """No reader takes an id apart."""
    about = {claim["id"]: claim for claim in found["claims"]}
    ends = [c for c in found["claims"] if c["family"] == "end_of_success"]
    assert [(c["metric"], c["baseline"]) for c in ends] == [(m, "others") for m in ("mse", "ssim", "lpips_vgg_64")]
    assert about["visual_mu_ssim"]["metric"] == "ssim"
    assert about["prior_wrong_class"]["attack"] == "posterior_mean"
    names = [claim["name"] for claim in found["claims"] if claim["name"]]
    assert len(names) == len(set(names))


def test_a_half_trained_prior_is_told(found):
    assert any("half-trained: 5 of 10 steps" in note for note in found["notes"])
