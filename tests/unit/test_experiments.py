"""Every experiment runs on real digits with a tiny random network, and its table says what theory fixes in advance."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from vpaudit.base import files
from vpaudit.base.errors import VpauditError
from vpaudit.base.randomness import generator
from vpaudit.experiments import bench as bench_module
from vpaudit.experiments import catalog, stage
from vpaudit.experiments.averaging import run as averaging
from vpaudit.experiments.ball import run as ball
from vpaudit.experiments.bench import Bench
from vpaudit.experiments.calibration import run as calibration
from vpaudit.experiments.calls import run as calls
from vpaudit.experiments.confident import run as confident
from vpaudit.experiments.curves import run as curves
from vpaudit.experiments.distances import run as distances_module
from vpaudit.experiments.dpsgd import run as dpsgd
from vpaudit.experiments.draws import run as draws
from vpaudit.experiments.fitted import run as fitted
from vpaudit.experiments.gradients import run as gradients
from vpaudit.experiments.prediction.figure import by_distance, fit
from vpaudit.experiments.recognition import run as recognition
from vpaudit.experiments.rounds import run as rounds
from vpaudit.experiments.scale import run as scale
from vpaudit.experiments.scores import run as scores
from vpaudit.experiments.shift import run as shift
from vpaudit.experiments.transition import run as transition
from vpaudit.measure import distances
from vpaudit.priors.train import build_network, build_scheduler
from vpaudit.report.recognition import ATTACKS
from vpaudit.sampling import few_step
from vpaudit.stages import data as data_stage
from vpaudit.stages import priors as priors_stage
from vpaudit.study import config as configuration
from vpaudit.study.config import Training
from vpaudit.study.layout import Layout

DPSGD = {
    "methods": ["plain", "kalman", "wiener", "subspace", "diffusion"],
    "epsilons": [1, 8],
    "seeds": 2,
    "steps": 4,
    "gradient_prior": {
        "images_seen": 64,
        "batch_size": 16,
        "width": 32,
        "layers": 1,
        "heads": 2,
        "patch_size": 4,
        "compile": False,
        "precision": "float32",
        "warmup_steps": 1,
        "sigma_range": (0.05, 100.0),
    },
}
COMMON = {"dataset", "image", "mu", "metric", "value"}


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    folder = tmp_path_factory.mktemp("experiments")
    overlay = {
        "study": "toy",
        "data": {"name": "digits", "images": 6},
        "experiments": {
            "images": 6,
            "mu": [10],
            "compile": False,
            "settings": {"dpsgd": DPSGD},
        },
        "prior": {"path": str(folder / "prior"), "gaussian": str(folder / "gaussian"), "precision": "float32"},
    }
    config = configuration.resolve(overlay)
    layout = Layout(config)
    layout.results, layout.work = folder / "results", folder / "work"
    torch.manual_seed(0)
    network = build_network((1, 8, 8), 10, Training(width=32, layers=2, heads=2, patch_size=2))
    network.save_pretrained(folder / "prior" / "transformer")
    build_scheduler().save_pretrained(folder / "prior" / "scheduler")
    priors_stage.fit_gaussian(config, layout, str(folder / "gaussian"))
    data_stage.targets(config, layout)
    data_stage.public(config, layout)
    grid = np.array([0.05, 5.0])
    levels = np.stack([[s, s / 4, 0.0] for s in grid])
    coefficients = np.tile(np.array([[0.25, 0.75, 0.0], [0.0, 0.0, 1.0]]), (2, 1, 1))  # DDIM of two steps
    few_step.save([few_step.Plan(grid, levels, coefficients)], folder / "prior", {})
    bench = Bench(config, layout, 10.0)
    for mu in config.mu_names:
        layout.reconstruction(mu).parent.mkdir(exist_ok=True)
        made = {f"unconditional.{attack}": bench.x.numpy()[None] for attack in ATTACKS}
        np.savez(layout.reconstruction(mu), **made)
    return bench


def _first(samplers):
    """Each sampler of a kind of targets once."""
    return [(kind, list({row[0]: row for row in rows}.values())) for kind, rows in samplers.items()]


@pytest.fixture(autouse=True, scope="module")
def _small():
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr(calls, "CALLS", (1, 2, 3))
    monkeypatch.setattr(calls, "CONVERGED", {"kind": "multistep", "order": 3, "steps": 12})
    monkeypatch.setattr(calls, "REFERENCE", {"kind": "ddim", "steps": 12})
    monkeypatch.setattr(calibration, "DRAWS", 3)
    monkeypatch.setattr(fitted, "MORE", 5)
    monkeypatch.setattr(fitted, "CONVERGED", {"kind": "multistep", "order": 3, "steps": 12})
    monkeypatch.setattr(bench_module, "LONG_CHAIN", 4)
    monkeypatch.setattr(
        calibration,
        "SAMPLERS",
        {kind: [(name, 3, options) for name, _, options in rows] for kind, rows in _first(calibration.SAMPLERS)},
    )
    monkeypatch.setattr(averaging, "REPEATS", (1, 2))
    monkeypatch.setattr(averaging, "STEPS", {"ancestral": (2,), "multistep_2": (3,)})
    monkeypatch.setattr(recognition, "KNOWN", 60)
    monkeypatch.setattr(rounds, "ROUNDS", (1, 4))
    monkeypatch.setattr(gradients, "BATCHES", (1, 3))
    monkeypatch.setattr(gradients, "PUBLIC", 60)
    monkeypatch.setattr(curves, "LEVELS", 4)
    monkeypatch.setattr(draws, "DRAWS", {"unconditional": 4, "wrong_class": 2})
    monkeypatch.setattr(draws, "PAIRED", 2)
    monkeypatch.setattr(draws, "SAMPLER", {"kind": "multistep", "eta": 1.0, "order": 2, "steps": 3})
    monkeypatch.setattr(scores, "SAMPLES", 400)
    monkeypatch.setattr(scores, "SMOOTHING", (0.5,))
    monkeypatch.setattr(scale, "SHARED", scale.SHARED / "not here")
    monkeypatch.setattr(scale, "TEST", 6)
    monkeypatch.setattr(dpsgd, "TRIES", {name: tries[:2] for name, tries in dpsgd.TRIES.items()})
    monkeypatch.setattr(dpsgd, "PUBLIC", 100)
    monkeypatch.setattr(dpsgd, "VALIDATION", 50)
    monkeypatch.setattr(shift, "TARGETS", 3)
    monkeypatch.setattr(shift, "FITTED", 20)
    monkeypatch.setattr(shift, "LEVELS", 3)
    monkeypatch.setattr(distances_module, "SAMPLES", 20)
    monkeypatch.setattr(distances_module, "STEPS", 3)
    monkeypatch.setattr(transition, "LONG_CHAIN", 4)
    monkeypatch.setattr(ball, "SAMPLES", 60)
    monkeypatch.setattr(ball, "STEPS", 3)
    monkeypatch.setattr(ball, "CENTRES", 4)
    monkeypatch.setattr(ball, "KEPT", 30)
    yield
    monkeypatch.undo()


@pytest.fixture(scope="module")
def table_of(bench, _small):
    """name -> table, each computed once."""
    made = {}

    def get(name):
        if name not in made:
            for other in catalog.card(name).after:
                files.write_table(bench.layout.experiment(other), get(other))
            made[name] = catalog.module(name, "run").run(bench)
        return made[name]

    return get


@pytest.fixture
def draw(bench, tmp_path):
    """(name, table) -> folder of the files drawn of it, by the stage; tables of further experiments by name."""
    layout = Layout(bench.config)
    layout.results, layout.figures = tmp_path / "results", tmp_path / "figures"
    (layout.results / "experiments").mkdir(parents=True)
    configuration.save(bench.config, layout.config)

    def draw(name, **tables):
        for other, table in tables.items():
            table.to_parquet(layout.experiment(other), index=False)
        stage.experiment_figure(bench.config, layout, name)
        assert layout.experiment_figure(name, "png").stat().st_size > 10_000
        return layout.engine_figures

    return draw


@pytest.mark.parametrize("name", catalog.names("each mu"))
def test_every_experiment_makes_a_finite_long_table(bench, table_of, name):
    table = table_of(name)
    assert set(table.columns) == COMMON | set(catalog.card(name).columns)
    assert np.isfinite(table["value"]).all()
    known = set(bench.ids.tolist())
    if name == "fitted":  # is about other images
        assert table["image"].nunique() == fitted.MORE
        assert not set(table["image"]) & known
    else:
        assert set(table["image"]) <= known
    keys = [c for c in table.columns if c != "value"]
    assert not table.duplicated(keys).any()
    assert pd.api.types.is_float_dtype(table["value"])


@pytest.mark.parametrize("name", catalog.names("all mu"))
def test_every_measurement_of_the_prior_makes_a_finite_table(table_of, name):
    table = table_of(name)
    assert COMMON | set(catalog.card(name).columns) >= set(table.columns) >= {"metric", "value"}
    assert len(table) >= 10
    assert np.isfinite(table["value"]).all()
    signed = ("ssim", "ncc", "recovered", "recovered_low", "kl", "kernel", "bits", "bias")
    assert (table.loc[~table["metric"].isin(signed), "value"] >= -1e-9).all()


def test_small_balls_are_read_from_rising_distances(table_of):
    for _, rows in table_of("ball").groupby(["metric", "centre"]):
        assert rows.sort_values("rank")["value"].is_monotonic_increasing


def test_shift_is_drawn_and_no_shift_is_no_distance(table_of, draw):
    table = table_of("shift")
    same = table[(table["prior"] == table["target"]) & (table["metric"] != "mse")]
    assert np.allclose(same["value"], 0, atol=1e-4)
    draw("shift", shift=table)


def test_pixels_known_to_lie_in_a_range_are_denoised_as_a_truncated_gaussian():
    from scipy.stats import truncnorm

    x, s = torch.linspace(-9, 9, 37), 0.7
    truth = truncnorm.mean((-1 - x.numpy()) / s, (1 - x.numpy()) / s, loc=x.numpy(), scale=s)
    found = shift.in_range(x.view(-1, 1, 1, 1), torch.full((37,), s)).flatten()
    assert np.allclose(found.numpy(), truth, atol=1e-5)


def test_draws_are_drawn(table_of, draw):
    draw("draws", draws=table_of("draws"))


def test_what_draws_agree_on_is_drawn(bench, table_of, draw):
    """Rates, and pixels of examples that make whole images."""
    table = table_of("confident")
    rates = table[~table["metric"].str.startswith("example_")]
    assert rates["value"].between(0, 1).all()
    assert rates.groupby(["prior", "among", "metric"]).size().eq(len(bench.ids)).all()
    targets = table[(table["metric"] == "example_target") & (table["prior"] == "wrong_class")]
    image = targets["image"].iloc[0]
    shown = targets[targets["image"] == image].sort_values("place")["value"]
    assert np.allclose(shown, bench.x[bench.ids.tolist().index(image)].flatten().numpy())
    draw("confident", confident=table)


def test_content_is_what_is_off_the_commonest_shade():
    image = torch.full((1, 1, 4, 4), -0.2)
    image[0, 0, 1, 1:3] = torch.tensor([0.5, -0.15])  # an object, and a shade of the background
    assert confident.content(image).nonzero()[1].tolist() == [5]


def test_dpsgd_is_paired_and_drawn(table_of, draw):
    """Every method, budget and seed once; figures of accuracy and of what is gained over plain DP-SGD."""
    table = table_of("dpsgd")
    assert table.groupby(["method", "public"]).size().eq(4).all()
    assert set(table["method"]) == {"plain", "kalman", "wiener", "subspace", "diffusion"}
    assert table["value"].between(0, 1).all()
    gains = pd.read_csv(draw("dpsgd", dpsgd=table) / "dpsgd.csv").query("quantity == 'gain over plain'")
    assert (gains["n"] == 2).all()


def test_frechet_distance_of_known_gaussians():
    """Commuting covariances: sum of (sqrt a - sqrt b)^2, plus the squared distance of means."""
    a, b = np.diag([4.0, 1.0, 0.0]), np.diag([1.0, 9.0, 1.0])
    assert distances.frechet(np.zeros(3), a, np.array([3.0, 0, 0]), b) == pytest.approx(9 + 1 + 4 + 1)


def test_kernel_distance_is_unbiased():
    """Of two samples of one law it is 0 on average, and of laws whose means differ it is what their kernel says."""
    rng = np.random.default_rng(0)
    same = [distances.kernel(*rng.normal(size=(2, 40, 3))) for _ in range(400)]
    assert np.mean(same) == pytest.approx(0, abs=3 * np.std(same) / 20)
    far = [distances.kernel(rng.normal(size=(40, 3)), rng.normal(2.0, 1.0, size=(40, 3))) for _ in range(50)]
    assert np.mean(far) > 10 * np.std(same)


def test_a_distance_that_explains_the_error_is_told_from_one_that_does_not():
    points = pd.DataFrame([("a", 5.0, 0.1), ("b", 5.0, 0.2), ("a", 50.0, 0.01), ("b", 50.0, 0.02)])
    points.columns = ["prior", "mu", "achieved_value"]
    right = pd.DataFrame({"prior": ["a", "b"], "value": [1.0, 3.0]})
    assert fit(points, by_distance(points, right))[:2] == pytest.approx((1, 1))
    none = points.assign(achieved_value=points.groupby("mu")["achieved_value"].transform("mean"))
    assert fit(points, none["achieved_value"])[1] == pytest.approx(0, abs=0.1)


def test_scale_is_drawn_and_judged(table_of, draw):
    drawn = pd.read_csv(draw("scale", scale=table_of("scale")) / "scale.csv")
    judged = drawn[drawn["quantity"] == "rank correlation between sizes"]
    assert ((judged["value"] <= 1) & (judged["value"] > 0)).all()


@pytest.mark.parametrize("name", catalog.names("each mu"))
def test_every_experiment_is_drawn(table_of, draw, name):
    """From two values of mu; PNG, PDF and CSV, and the CSV holds intervals around its values."""
    both = pd.concat([table_of(name), table_of(name).assign(mu=20.0)])
    others = {Path(other).name: table_of(Path(other).name) for other in catalog.card(name).tables}
    drawn = pd.read_csv(draw(name, **{name: both}, **others) / f"{name}.csv")
    drawn = drawn.dropna(subset=["low"])  # how well a line fits has no interval
    assert len(drawn)
    assert ((drawn["low"] <= drawn["value"] + 1e-9) & (drawn["value"] <= drawn["high"] + 1e-9)).all()
    assert (drawn["n"] >= 1).all()


def test_a_missing_experiment_says_how_to_make_it(draw):
    with pytest.raises(VpauditError, match="snakemake experiments"):
        draw("calls")


def test_one_call_is_the_posterior_mean_whatever_the_solver(table_of):
    table = table_of("calls")
    one = table[(table["calls"] == 1) & (table["metric"] == "mse")].pivot_table(
        index="image", columns="solver", values="value"
    )
    assert {"ddim", "multistep_2", "multistep_3", "heun"} <= set(one.columns)
    assert np.allclose(one.sub(one["ddim"], axis=0), 0, atol=1e-5)


def test_rounds_at_fixed_epsilon_change_nothing_without_sampling(table_of):
    """T full rounds of mu / sqrt(T) are one of mu: same law, so the same error up to other noise."""
    table = table_of("rounds")
    full = table[(table["sampling"] == "every round") & (table["budget"] == "epsilon")]
    assert np.allclose(full["mu_total"], 10.0)
    means = full.groupby("rounds")["value"].mean()
    assert means.max() / means.min() < 1.5
    growing = table[(table["sampling"] == "every round") & (table["budget"] == "mu a round")]
    assert growing.groupby("mu_total")["value"].mean().is_monotonic_decreasing


def test_told_errors_are_in_the_table_of_knowledge(table_of):
    table = table_of("knowledge")
    told = table[(table["metric"] == "sigma_ratio") & (table["sigma"] == "known")]
    assert np.allclose(told["value"], 1 + told["sigma_error"])
    perfect = table[(table["knowledge"] == "sigma known, lambda known") & (table["metric"] == "lambda_ratio")]
    assert np.allclose(perfect["value"], 1)


def test_calibration_of_exact_and_of_too_narrow_draws():
    """K = 19 exact Gaussian draws: pairwise = error = 2 mmse, coverage .9; half the spread, and both fall short."""
    rng = generator("calibration")
    shape = (300, 1, 8, 8)
    mean = torch.randn(shape, generator=rng)
    targets = mean + 0.5 * torch.randn(shape, generator=rng)
    z = torch.randn((19, *shape), generator=rng)
    exact, narrow = (calibration.calibration(mean + scale * z, targets) for scale in (0.5, 0.25))
    assert float(exact["pairwise"].mean()) == pytest.approx(0.5, rel=0.02)
    assert float(exact["error"].mean()) == pytest.approx(0.5, rel=0.02)
    assert float(exact["mean_error"].mean()) == pytest.approx(0.25 * (1 + 1 / 19), rel=0.02)
    assert float(exact["coverage"].mean()) == pytest.approx(0.9, abs=0.01)
    assert float(narrow["pairwise"].mean()) == pytest.approx(0.125, rel=0.02)
    assert float(narrow["coverage"].mean()) < 0.7


def test_an_unknown_experiment_is_named():
    with pytest.raises(VpauditError, match="no experiment 'curious'"):
        catalog.module("curious", "run")
