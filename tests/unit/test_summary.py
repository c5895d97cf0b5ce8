"""Claims: the one rule of verdicts, the threshold, and an invented study whose answers are known."""

import json

import numpy as np
import pandas as pd
import pytest
from fake_results import MU, gains, write

from vpaudit.base import stats
from vpaudit.experiments import stage
from vpaudit.report import claims, paper_claims
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


def test_the_threshold_is_where_the_gap_changes_sign():
    assert stats.crossing([1, 10, 100], np.array([-1.0, 1.0, 2.0])) == pytest.approx(10**0.5)
    assert stats.crossing([1, 10, 100], np.array([1.0, 1.0, 2.0])) == 1
    assert np.isnan(stats.crossing([1, 10, 100], np.array([1.0, 1.0, -2.0])))


def test_the_last_mu_that_a_corrected_test_does_not_tell_apart():
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((60, 4))
    assert stats.last_indistinct([1, 2, 5, 10], noise + np.array([0, 0, 2, 3])) == 2
    assert np.isnan(stats.last_indistinct([1, 2, 5, 10], noise + 3))
    assert stats.last_indistinct([1, 2, 5, 10], noise - 3) == 10
    flat = [stats.last_indistinct([1, 2], rng.standard_normal((30, 2))) for _ in range(200)]
    assert np.mean(np.array(flat) != 2) < 0.06  # nothing to see: told apart in at most 5 % of grids


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
        if claim["value"] is not None:
            assert claim["low"] <= claim["value"] <= claim["high"]


def test_what_a_claim_is_about_is_said_in_fields(found):
    """No reader takes an id apart."""
    about = {claim["id"]: claim for claim in found["claims"]}
    ends = [c for c in found["claims"] if c["family"] == "end_of_success"]
    assert {(c["metric"], c["baseline"]) for c in ends} == {
        (metric, baseline) for metric in ("mse", "ssim", "lpips_vgg_64") for baseline in ("unrelated", "others")
    }
    assert about["below_rero_ssim"]["metric"] == "ssim"
    assert about["prior_wrong_class"]["attack"] == "posterior_mean"
    names = [claim["name"] for claim in found["claims"] if claim["name"]]
    assert len(names) == len(set(names))


def test_a_half_trained_prior_is_told(found):
    assert any("half-trained: 5 of 10 steps" in note for note in found["notes"])
