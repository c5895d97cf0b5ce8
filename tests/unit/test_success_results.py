"""Success counted from a study's tables, against direct computation; a violation that was put in must be called."""

import numpy as np
import pytest
from fake_results import write
from scipy.stats import norm

from vpaudit.base.labels import METRICS
from vpaudit.report import paper_claims, success
from vpaudit.report.results import Results

MU = (0.5, 2.0, 5.0)
DDIM = {"prior": "unconditional", "attack": "ddim"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("success") / "results", mu=MU, images=60)


@pytest.fixture
def study(folder):
    return Results(folder)


def pick(table, **where):
    for key, value in where.items():
        table = table[table[key] == value]
    return table


@pytest.mark.parametrize("metric", ["mse", "ssim"])
def test_success_is_the_share_of_outputs_at_least_as_close_as_the_threshold(study, metric):
    rows = pick(study.success, **DDIM, metric=metric, mu=2.0, reference="noise")
    real = pick(study.metrics, **DDIM, metric=metric, mu=2.0)["value"].to_numpy()
    null = pick(study.references, **DDIM, metric=metric, mu=2.0, reference="noise")["value"].to_numpy()
    closer = np.greater_equal if METRICS[metric].higher_is_better else np.less_equal
    assert len(rows) == study.config["success"]["thresholds"]
    for _, row in rows.iterrows():
        eta = row["eta"] + (-1e-12 if METRICS[metric].higher_is_better else 1e-12)
        assert row["real"] == pytest.approx(closer(real, eta).mean())
        expected = norm.cdf(2 + norm.ppf(closer(null, eta).mean()))
        assert row["bound"] == pytest.approx(expected)
        assert row["low"] <= row["real"] <= row["high"]
        assert row["bound_low"] <= row["bound"] <= row["bound_high"]


def test_thresholds_are_quantiles_of_unrelated_pairs_and_know_no_attack(study):
    pairs = pick(study.baselines, kind="test_vs_test", metric="ssim")["value"]
    eta = np.unique(pick(study.success, metric="ssim")["eta"])
    assert eta[0] == pytest.approx(pairs.quantile(1 - success.COMMON))
    assert eta[-1] == pytest.approx(pairs.quantile(1 - success.RARE))
    other = Results(study.folder)
    other.metrics = study.metrics.assign(value=0.0)
    assert np.array_equal(np.unique(pick(other.success, metric="ssim")["eta"]), eta)


def test_of_several_draws_on_one_release_one_counts(study):
    again = study.metrics.assign(draw=1, value=0.0)
    other = Results(study.folder)
    other.metrics = again.merge(study.metrics, how="outer")
    assert other.success.equals(study.success)


def test_visual_mu_is_of_the_reference_that_shows_more_at_a_level_shared_by_both(study):
    both = {name: Results(study.folder) for name in ("noise", "mean")}
    for name, one in both.items():
        one.references = pick(study.references, reference=name)
    alone = {name: pick(one.visual_mu, **DDIM, metric="mse")["low"].to_numpy() for name, one in both.items()}
    found = pick(study.visual_mu, **DDIM, metric="mse")
    assert found["mu"].tolist() == list(MU)
    assert (found["low"] <= np.maximum(alone["noise"], alone["mean"])).all()
    for place, row in enumerate(found.itertuples()):
        assert row.low <= alone[row.reference][place]
        assert row.shown <= row.low <= row.value <= row.mu


def leaking(study) -> Results:
    """The study with an attack that always succeeds at mu = 0.5, and never without the target."""
    other = Results(study.folder)
    for name, value in (("metrics", 0.0), ("references", 9.0)):
        table = getattr(study, name).copy()
        where = (table["attack"] == "ddim") & (table["metric"] == "mse") & (table["mu"] == 0.5)
        table.loc[where, "value"] = value
        setattr(other, name, table)
    return other


def test_a_violation_is_called_and_named(study):
    (claim,) = paper_claims.within_theorem(study)
    assert claim.verdict == "confirmed"
    assert claim.measured.startswith(f"0 of {len(study.success):,} cells")
    assert all(row["value"] < 1 for row in claim.by_mu)
    (claim,) = paper_claims.within_theorem(leaking(study))
    assert claim.verdict == "not confirmed"
    assert claim.note.startswith("Contradicted by DDIM, MSE, µ = 0.5: a leak or an error.")
    assert claim.value > 1


def test_the_limit_for_all_cells_is_above_mu_exactly_where_a_violation_is_called(study):
    for one in (study, leaking(study)):
        called = one.success.groupby(success.KEYS)["violated"].any()
        shown = one.visual_mu.set_index(success.KEYS)["shown"]
        assert (called == (shown > shown.index.get_level_values("mu"))[called.index]).all()


def test_no_attack_that_is_told_nothing_is_above_the_bound_for_all_of_them(study):
    """Against the best fixed answer among many, at mu = 0; and the bound rises with mu and eta."""
    public, eta = study.public, np.geomspace(0.01, 1, 6)
    answers = np.concatenate([public, public.mean(0, keepdims=True)])
    mse = np.square(public[:, None] - answers[None]).mean(axis=(2, 3, 4))
    best = (mse[:, :, None] <= eta).mean(axis=0).max(axis=0)
    limits = np.stack([success.without_lambda(public, eta, mu) for mu in (0.0, 1.0, 3.0)])
    assert (limits[0] >= best).all()
    assert (np.diff(limits, axis=0) >= 0).all()
    assert (np.diff(limits, axis=1) >= 0).all()


def test_the_attack_that_is_told_lambda_as_the_uninformed_adversary_is_held_against_its_bound(study):
    (claim,) = paper_claims.beats_uninformed(study)
    assert claim.attack == "ddim"
    ratio = (
        study.curve("none", "raw", "mse").set_index("mu")["value"]
        / study.bound("uninformed", "mse").set_index("mu")["value"]
    )
    assert f"{ratio.min():.2g} (µ = {ratio.idxmin():g})" in claim.note
    told, uses = paper_claims.told_lambda(study)
    assert told.value > 1 > uses.value


def test_a_study_without_reference_releases_says_nothing_of_success(tmp_path):
    folder = write(tmp_path / "results", mu=(1.0, 5.0), images=8)
    (folder / "references.parquet").unlink()
    study = Results(folder)
    assert paper_claims.within_theorem(study) == paper_claims.visual_mu(study) == []
