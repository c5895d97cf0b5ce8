"""The audit of people's own images: what is read, what is answered, and what must not be seen."""

import base64
import json
import os
import shutil
import stat
import types
from pathlib import Path

import fake_results
import numpy as np
import pandas as pd
import pytest
import torch
from fake_results import MU, write
from PIL import Image

from vpaudit import data
from vpaudit.base import files, pixels, places
from vpaudit.base.errors import VpauditError
from vpaudit.commands.audit import answer, budget, page, pdf, seen
from vpaudit.commands.audit import job as audit
from vpaudit.commands.audit import prior as priors
from vpaudit.commands.audit.output import Output
from vpaudit.commands.main import main
from vpaudit.measure import prior_mismatch
from vpaudit.priors import HELD_OUT_SIGMAS
from vpaudit.priors.gaussian import GaussianPrior
from vpaudit.privacy import accounting
from vpaudit.report import words
from vpaudit.report.results import Results, share_recovered
from vpaudit.stages import believed, participation, privatize, recognised, reconstruct
from vpaudit.stages import data as data_stage
from vpaudit.study.config import Attack, Config, Success
from vpaudit.study.layout import Layout

# ---------------------------------------------------------------- the images


@pytest.fixture
def pictures(tmp_path):
    """Twelve images with names that nobody may see, one of them twice, and a broken one."""
    folder = tmp_path / "patient_smith"
    folder.mkdir()
    for k in range(12):
        pixels = np.random.default_rng(k).integers(0, 256, (40, 60, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"smith_{k:02d}.png")
    (folder / "twin.png").write_bytes((folder / "smith_03.png").read_bytes())
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    return folder


def prepared(folder, **options):
    setup = options.pop("setup", budget.setup(mu=[5.0]))
    return audit.prepare(str(folder), setup, priors.named("fashion_mnist_dit"), **options)


def test_prepare_reads_and_names_nobody(pictures):
    job = prepared(pictures, limit=8)
    assert job.chosen.images.shape == (8, 28, 28)
    assert job.config.data.images == 8
    assert 5.0 in job.config.mechanism.mu
    assert [a.conditioning for a in job.config.attacks] == [["unconditional"]] * len(Config().attacks)
    assert "smith" not in job.config.model_dump_json() + "\n".join(job.reading.lines())
    assert dict(job.reading.skipped)["twin.png"] == "duplicate: the same pixels as smith_03.png"
    names = job.names()
    assert len(set(names)) == 8
    assert all(name.startswith("smith") for name in names)


def test_the_same_images_and_settings_are_the_same_study(pictures):
    first, again = prepared(pictures), prepared(pictures)
    assert first.config == again.config
    assert prepared(pictures, setup=budget.setup(mu=[6.0])).config.study != first.config.study
    (pictures / "smith_00.png").unlink()
    assert prepared(pictures).config.study != first.config.study
    other = prepared(pictures, margin=0.1).config
    assert other.study == prepared(pictures).config.study  # attacked once, judged by another margin
    assert other.evaluate.margin == 0.1
    assert prepared(pictures, show_names=True).config.study.startswith("audit-patient-smith-")


def test_a_mu_that_cannot_be_attacked_is_said(pictures):
    job = prepared(pictures, setup=budget.setup(mu=[0.01, 5, 420]))
    assert job.config.mechanism.mu[0] > 0.01
    assert job.config.mechanism.mu[-1] < 420
    assert [w for w in job.warnings if "0.01" in w and "more noise than this prior" in w]
    assert [w for w in job.warnings if "420" in w and "visible as it is released" in w]


@pytest.mark.parametrize(
    ("options", "word"),
    [({"size": 32}, "--size 28"), ({"limit": 3}, "must be >= 4"), ({"max_grad_norm": -1}, "--max-grad-norm -1"),
     ({"margin": 5.0}, r"--margin 5 must be in \(0, 1\)"), ({"margin": float("nan")}, "--margin nan")],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_name(pictures, options, word):
    with pytest.raises(VpauditError, match=word):
        prepared(pictures, **options)


def test_too_few_usable_images_are_counted(pictures):
    for path in pictures.glob("smith_0*.png"):
        path.unlink()
    (pictures / "smith_11.png").unlink()
    with pytest.raises(VpauditError, match=r"only 2 usable images.*1 left out: not an image"):
        prepared(pictures)


def test_an_unknown_prior_is_answered_with_those_that_are_here():
    with pytest.raises(VpauditError, match=r"known: (\w+, )*fashion_mnist_dit[,;]"):
        priors.named("faces")
    prior = priors.named("fashion_mnist_dit")
    assert prior.shape == (1, 28, 28)
    assert prior.gaussian.name == "fashion_mnist_gaussian"


def test_a_prior_without_a_gaussian_of_its_shape_says_how_to_get_one(root, tmp_path):
    folder = tmp_path / "priors" / "mine"
    shutil.copytree(root / "resources/priors/cifar10", folder, ignore=shutil.ignore_patterns("gaussian"))
    for name in ("card.json", "unet/config.json"):
        about = json.loads((folder / name).read_text())
        (folder / name).write_text(
            json.dumps(about | {"sample_size": 8} | ({"shape": [3, 16, 16]} if "/" not in name else {}))
        )
    with pytest.raises(VpauditError, match="fit-gaussian"):
        priors.named(str(folder))


SHIPPED = sorted(p.parent.name for p in (places.SHIPPED / "resources/priors").glob("*/scheduler"))


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_prior_attacks_peoples_images(name, pictures, tmp_path, monkeypatch):
    """From the command line's --prior to reconstructions, beside its own Gaussian prior."""
    prior = priors.named(name)
    job = audit.prepare(str(pictures), budget.setup(mu=[20.0]), prior, limit=4)
    attacks = [Attack(name="ddim", kind="ddim", steps=2), Attack(name="wiener", kind="wiener")]
    np.savez(tmp_path / "images.npz", x=job.chosen.images)
    there = job.config.data.model_copy(update={"folder": str(tmp_path / "images.npz")})
    study = job.config.model_copy(update={"attacks": attacks, "data": there})
    monkeypatch.chdir(places.SHIPPED)
    layout = Layout(study)
    layout.results, layout.work = tmp_path / "results", tmp_path / "work"
    data_stage.targets(study, layout)
    privatize.privatize(study, layout, "20")
    reconstruct.reconstruct(study, layout, "20", device="cpu")
    with np.load(layout.reconstruction("20")) as made:
        assert all(np.isfinite(made[key]).all() for key in made.files)


@pytest.mark.parametrize(("fitted", "known"), [(slice(0, 12), 12), (slice(0, 9), 9), (slice(12, 60), 0)])
def test_a_gaussian_fitted_to_the_audited_images_is_told(fitted, known, tmp_path, pictures):
    (tmp_path / "others").mkdir()
    for k in range(12, 60):
        Image.fromarray(np.random.default_rng(k).integers(0, 256, (40, 60, 3), np.uint8)).save(
            tmp_path / f"others/{k}.png"
        )
    mine, others = (data.read_local(folder, 28, grey=True).images.images for folder in (pictures, tmp_path / "others"))
    chosen = np.concatenate([mine, others])[fitted]
    card = {"images": len(chosen), "shape": [1, 28, 28]}
    GaussianPrior.fit(pixels.from_uint8(chosen)).save(tmp_path / "fitted", card)
    prior = priors.named("fashion_mnist_dit", str(tmp_path / "fitted"))
    warnings = audit.prepare(str(pictures), budget.setup(mu=[5.0]), prior, limit=5).warnings
    told = [warning for warning in warnings if "fitted to" in warning]
    assert len(told) == (known > 0)
    assert all(f"fitted to {known} of these 12 images" in warning for warning in told)


# ---------------------------------------------------------------- how far from the prior


def test_excess_between_gaussians_is_known():
    """Both errors exact: 1/2 sum ln(1 + l / s^2) of each, subtracted."""
    s = np.geomspace(0.05, 150, 400)
    own, usual = np.array([4.0, 1.0, 0.2]), np.array([1.0, 0.3, 0.1])

    def mmse(variances):
        return (variances * s[:, None] ** 2 / (variances + s[:, None] ** 2)).sum(1)

    rows = {"s": s, "value": mmse(own), "reference": mmse(usual)}
    table = pd.concat([pd.DataFrame({**rows, "image": i}) for i in range(5)])
    for at in (0.1, 1.0, 10.0):
        want = 0.5 * (np.log1p(own / at**2).sum() - np.log1p(usual / at**2).sum())
        found = prior_mismatch.excess(table, at)
        assert found["nats"] == pytest.approx(want, rel=0.01)
        assert found["share"] == pytest.approx(want / (0.5 * np.log1p(usual / at**2).sum()), rel=0.01)
        assert found["low"] <= found["nats"] <= found["high"]


def test_a_priors_own_images_have_no_excess_and_other_images_have():
    rng = torch.Generator().manual_seed(0)
    variances = torch.logspace(0, -3, 64)
    prior = GaussianPrior(torch.zeros(1, 8, 8), torch.linalg.qr(torch.randn(64, 64, generator=rng))[0], variances)
    own = prior.colour(torch.randn(300, 1, 8, 8, generator=rng))
    wide = 2 * prior.colour(torch.randn(300, 1, 8, 8, generator=rng))
    measured = prior_mismatch.errors(prior, own, range(300))
    for s, errors in measured.items():
        assert errors.mean() == pytest.approx(64 * prior.posterior_mse(s), rel=0.1)

    def table(images):
        parts = [
            pd.DataFrame({"image": range(300), "s": s, "value": v, "reference": 64 * prior.posterior_mse(s)})
            for s, v in prior_mismatch.errors(prior, images, range(300)).items()
        ]
        return pd.concat(parts)

    own, other = prior_mismatch.excess(table(own), 0.05), prior_mismatch.excess(table(wide), 0.05)
    assert own["low"] < 0 < own["high"]
    assert abs(own["share"]) < 0.05
    assert other["low"] > 0
    assert other["share"] > prior_mismatch.FAR


# ---------------------------------------------------------------- the answer


FACTS = {
    "study": "invented",
    "images": 30,
    "reading": ["30 image files"],
    "shape": "16×16",
    "prior": "p",
    "public": "",
    "unbelieved": "no public images are at hand",
    "warnings": [],
}


@pytest.fixture(scope="module")
def answered(tmp_path_factory):
    """Results in the real formats, whose domain is twice as hard as the prior's own."""
    results = write(tmp_path_factory.mktemp("audit") / "results")
    ids = 3 * np.arange(30) + 1
    parts = [
        pd.DataFrame(
            {"image": ids, "s": s, "value": 2 * s * (1 + 0.01 * ids), "reference": s, "reference_kind": "64 samples"}
        )
        for s in HELD_OUT_SIGMAS
    ]  # fmt: skip
    pd.concat(parts).to_parquet(results / "domain.parquet")
    for stage in (participation, believed, recognised):
        stage.NOTHING.to_parquet(results / f"{stage.__name__.split('.')[-1]}.parquet")
    layout = types.SimpleNamespace(
        results=results, summary=results / "summary.json", table=lambda name: results / f"{name}.parquet"
    )
    return layout, answer.build(layout, budget.setup(noise_multiplier=[0.2], steps=4), FACTS)


def test_every_attack_told_lambda_or_not_counts(answered):
    """The recommendation is the smallest end of all; shares are those of the tables."""
    layout, found = answered
    study, best = Results(layout.results), found["recommendation"]
    assert {(e["prior"], e["attack"]) for e in found["ends"]} == {pair[:2] for pair in fake_results.ATTACKS}
    assert len(found["ends"]) == 3 * len(fake_results.ATTACKS)
    assert (best["state"], best["mu"]) == ("below", MU[0])  # by this invented table more is visible at every mu
    assert best["upper"] == max(e["upper"] for e in found["ends"])
    row = next(r for r in found["visible"] if (r["mu"], r["attack"], r["metric"]) == (10.0, "ddim", "ssim"))
    share = words.at(study.recovered("ddim", "ssim"), 10.0)
    assert [row[f"recovered{k}"] for k in ("", "_low", "_high")] == pytest.approx(
        [share[k] for k in ("value", "low", "high")], rel=1e-5
    )
    assert json.loads(json.dumps(found)) == found


def test_visual_mu_is_told_of_attacks_told_lambda_and_not(answered):
    """At most mu, at least its limit; a theorem is called one with its premise."""
    layout, found = answered
    study, rows = Results(layout.results), found["visual_mu"]
    assert {row["attack"] for row in rows} == set(study.visual_mu.query("prior == 'unconditional'")["attack"])
    assert {row["knows"] for row in rows} == {seen.TOLD, seen.UNTOLD}
    assert {row["mu"] for row in rows} == {5.0, 10.0}
    assert all(0 <= row["low"] <= row["value"] <= row["mu"] for row in rows)
    text = " ".join(answer.text(found).split())
    row = next(row for row in rows if (row["attack"], row["metric"], row["mu"]) == ("ddim", "mse", 5.0))
    assert f"µ = 5, DDIM: MSE {answer.number(row['value'])} [{answer.number(row['low'])}]" in text
    assert text.count("This is a theorem; its premise is") == 3
    assert "(a theorem)" not in text
    assert "not measured" in answer.text(found | {"visual_mu": []})


def ends(*values):
    """Ends at these mu; None: not shown at any."""
    return [answer.End("unconditional", "ddim", "mse", v or np.nan, 4.0, 0.1, "more images", 9) for v in values]


@pytest.mark.parametrize(
    ("values", "state", "mu"),
    [((3, 1.5, 100), "inside", 1.5), ((3, None), "below", 1.0), ((100, 100), "above", 100.0)],
)
def test_the_attack_that_sees_most_decides(values, state, mu):
    found = answer.recommend(ends(*values), list(MU), budget.setup(noise_multiplier=[1.0], steps=9))
    assert (found["state"], found["mu"]) == (state, mu)
    every, one = found["noise"]
    assert (every["adversary"], one["adversary"]) == ("participation_known", "one_round")
    assert one["noise_multiplier"] == pytest.approx(1 / mu)
    assert every["noise_multiplier"] == pytest.approx(3 / mu)
    assert every["epsilon"] == pytest.approx(accounting.epsilon_of_mu(mu, 1e-5))


def test_attacks_of_which_nothing_is_shown_are_named_beside_the_rest(answered):
    """A sampler's outputs vary, so its limits are wide: what the other attacks need is told too."""
    shown = answer.End("unconditional", "posterior_mean", "mse", 2.5, 4.0, 0.01, "more images", 9)
    found = answer.recommend([shown, *ends(3, None)], list(MU), budget.setup(noise_multiplier=[1.0]))
    assert (found["state"], found["open"], found["rest"]) == ("below", ["ddim"], 2.5)
    text = answer.text(answered[1] | {"recommendation": found})
    assert "Not shown of DDIM. Every other attack recovers less up to µ = 2.50." in text
    assert np.isnan(answer.recommend(ends(None), list(MU), budget.setup(noise_multiplier=[1.0]))["rest"])


def noise(count: int, seed: int) -> float:
    """Recommended for `count` images of one law: two attacks in two measures, each recovering 2 % or more at mu = 1."""
    rng, grid = np.random.default_rng(seed), np.geomspace(0.1, 10, 9)
    hardness = rng.exponential(size=(count, 1)) + 0.3
    found = []
    for attack, metric, most in (("ddim", "mse", 0.02), ("ddim", "ssim", 0.01), ("posterior_mean", "mse", 0.025)):
        own = hardness * (1 - most * grid**1.2) * rng.uniform(0.7, 1.3, (count, len(grid)))
        pair = [pd.DataFrame(1 - v if metric == "ssim" else v, columns=grid) for v in (own, hardness + 0 * own)]
        found.append(answer.end(share_recovered(*pair, metric), 0.05, "unconditional", attack, metric))
    return answer.recommend(found, list(grid), budget.setup(noise_multiplier=[1.0]))["noise"][0]["noise_multiplier"]


def test_24_images_never_recommend_less_noise_than_2000():
    """Three tests at once: what few images let pass is too little noise in at most 5 % of audits, and never by much."""
    few, many = (np.array([noise(n, seed) for seed in range(k)]) for n, k in ((24, 200), (2000, 12)))
    needed = (0.025 / 0.05) ** (1 / 1.2)  # 1 / mu where the strongest attack recovers 5 %
    assert many.min() >= 0.98 * needed  # 2 % is what interpolation between points of the grid may add
    assert (few[:, None] >= many).mean() >= 0.95
    assert (few.min() / many.max()) > 0.8
    assert np.median(few) > np.median(many)


def test_a_recommendation_names_margin_limit_and_remedy(answered):
    found = answered[1]
    below = answer.text(found)
    assert "At every µ asked more than 5\u00a0% is recovered, or cannot be excluded: even at µ = 1 up to" in below
    assert "A smaller µ would settle it." in below
    inside = found["recommendation"] | {"state": "inside", "mu": 1.5, "estimate": 2.0}
    text = answer.text(found | {"recommendation": inside})
    assert "Less than 5\u00a0% is recovered, by every attack and measure, up to µ = 1.50" in " ".join(
        text.split("\n    ")
    )
    above = answer.text(found | {"recommendation": found["recommendation"] | {"state": "above", "mu": 100.0}})
    assert "Less than 5\u00a0% is recovered at every µ asked, up to 100 (n = 30)." in above


def test_four_images_of_which_nothing_can_be_said_are_answered_all_the_same(answered):
    """An interval without an end is null in JSON and open in the text."""
    found = answered[1]
    rows = [row | {"recovered_low": None, "recovered_high": 1.0} for row in found["visible"]]
    assert "[open, 100]" in answer.text(found | {"visible": rows})
    assert files.plain({"low": -np.inf}) == {"low": None}


def test_far_images_are_warned_of_and_a_stronger_prior_always(answered):
    found = answered[1]
    assert any("far from what this prior knows" in warning for warning in found["warnings"])
    assert answer.STRONGER in found["warnings"]
    assert found["distance"]["all"]["share"] > 1


def test_text_says_the_numbers_of_the_tables(answered):
    layout, found = answered
    text = answer.text(found)
    share = words.at(Results(layout.results).recovered("ddim", "ssim"), 10.0)
    assert f"SSIM {words.percent(share)}" in text
    assert seen.TOLD in text
    assert "noise multiplier 0.200, sample rate 1, 4 steps" in text
    assert "lower estimate" in text
    assert max(map(len, text.splitlines())) <= 100


# ---------------------------------------------------------------- privacy


def test_everything_written_inside_is_its_owners_alone(tmp_path):
    with audit.private():
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "b").write_text("x")
        os.system(f"touch {tmp_path}/a/c")
    modes = [stat.S_IMODE(p.stat().st_mode) & 0o077 for p in tmp_path.rglob("*")]
    assert modes == [0, 0, 0]
    (tmp_path / "d").write_text("x")
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) & 0o044  # and is as before outside


def gathered(tmp_path, pictures, page: str, **options):
    """The files of a finished study, and what is gathered of them."""
    job = prepared(pictures, **options)
    layout = types.SimpleNamespace(
        results=tmp_path / "results", figures=tmp_path / "figures", report=tmp_path / "report.html",
        config=tmp_path / "config.yaml", table=lambda name: tmp_path / f"{name}.parquet",
    )  # fmt: skip
    for folder in (layout.results, layout.figures):
        folder.mkdir(exist_ok=True)
    for name in ("reconstructions", "metrics_vs_mu"):
        for kind in ("png", "pdf", "csv"):
            (layout.figures / f"{name}.{kind}").write_bytes(f"{name}.{kind}".encode())
    for name in ("names", "left_out"):
        (layout.results / f"{name}.csv").write_text("file\nsmith\n")
    for name in audit.TABLES:
        pd.DataFrame({"value": [1.0]}).to_parquet(layout.table(name))
    layout.report.write_text(page)
    layout.config.write_text("study: x\n")
    audit.gather(job, layout, Output(tmp_path / "out"))
    return {str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*") if p.is_file()}


def uri(content: bytes) -> str:
    return f'<img src="data:image/png;base64,{base64.b64encode(content).decode()}">'


def test_a_redacted_audit_shows_curves_and_no_image(tmp_path, pictures):
    files = gathered(tmp_path, pictures, uri(b"metrics_vs_mu.png"), redact=True)
    assert "figures/metrics_vs_mu.png" in files
    assert "figures/reconstructions.csv" in files
    assert not {"figures/reconstructions.png", "figures/reconstructions.pdf"} & files
    assert "smith" not in "".join(p.read_text() for p in (tmp_path / "out").rglob("*.csv"))
    for picture in (b"reconstructions.png", b"another picture"):
        with pytest.raises(VpauditError, match="do not share"):
            gathered(tmp_path, pictures, uri(b"metrics_vs_mu.png") + uri(picture), redact=True)


def test_names_are_gathered_only_if_wanted(tmp_path, pictures):
    assert not {"tables/names.csv", "tables/left_out.csv"} & gathered(tmp_path, pictures, "page")
    assert {"tables/names.csv", "tables/left_out.csv"} <= gathered(tmp_path, pictures, "page", show_names=True)


# ---------------------------------------------------------------- the command


def test_files_of_others_are_never_touched(tmp_path, pictures):
    """Neither in a folder that is no audit's, nor beside an audit's own files; those are replaced."""
    out = tmp_path / "out"
    page = uri(b"metrics_vs_mu.png")
    first = gathered(tmp_path, pictures, page)
    (out / "notes.txt").write_text("mine")
    (out / "figures/mine").mkdir()
    (out / "figures/mine/b.png").write_text("mine")
    (out / "audit-files.txt").write_text((out / "audit-files.txt").read_text() + "figures/old.pdf\n../report.html\n")
    (out / "figures/old.pdf").touch()
    again = gathered(tmp_path, pictures, page, limit=5)
    assert again == first | {"notes.txt", "figures/mine/b.png"}
    assert (tmp_path / "report.html").exists()  # outside the folder, though its list names it
    listed = (out / "audit-files.txt").read_text().replace("report.html\n", "")
    (out / "audit-files.txt").write_text(listed)
    (out / "report.html").write_text("mine")
    with pytest.raises(VpauditError, match=r"report\.html is there, and no audit wrote it"):
        gathered(tmp_path, pictures, page)
    assert (out / "report.html").read_text() == (out / "notes.txt").read_text() == "mine"


def test_an_output_that_cannot_be_is_refused_before_the_attack(tmp_path, pictures, capsys, monkeypatch):
    monkeypatch.setattr(audit, "prepare", None)
    (tmp_path / "file").touch()
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs/config.yaml").write_text("theirs")
    for out, word in (
        ("file", "is a file"), ("file/below", "is a file"), ("theirs", "no audit wrote"),
        ("patient_smith/audit", "inside --images"), ("patient_smith", "inside --images"),
    ):  # fmt: skip
        arguments = ["audit", "--images", str(pictures), "--mu", "5", "--out", str(tmp_path / out)]
        assert main(arguments) == 2
        assert word in capsys.readouterr().err
    monkeypatch.setattr("vpaudit.commands.audit.output.FREE", 2**62)
    assert main(["audit", "--images", str(pictures), "--mu", "5", "--out", str(tmp_path / "new")]) == 2
    assert "MiB free" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
    assert (tmp_path / "theirs/config.yaml").read_text() == "theirs"


def test_dry_run_says_what_would_be_done_and_writes_nothing(pictures, root, capsys, tmp_path):
    before = {p.name for p in (root / "results").glob("audit-*")}
    out = tmp_path / "out"
    assert main(["audit", "--images", str(pictures), "--noise-multiplier", "0.2", "--dry-run", "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert "SHOW the images" in said.err
    assert "nothing is uploaded" in said.err
    for word in ("14 image files", "12 usable", "1 left out: duplicate", "of the network", "study: audit-images-"):
        assert word in said.out
    assert not out.exists()
    assert {p.name for p in (root / "results").glob("audit-*")} == before


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--images", "/nowhere", "--mu", "5"), "/nowhere does not exist"),
        (("--images", "/tmp", "--mu", "5", "--steps", "3"), "all steps together"),
        (("--images", "/tmp", "--epsilon", "8", "--cores", "0"), "--cores 0"),
        (("--images", "/tmp", "--epsilon", "8", "--delta", "2"), "delta"),
    ],
)
def test_wrong_use_is_answered_for_people(capsys, arguments, word):
    assert main(["audit", *arguments]) == 2
    assert word in capsys.readouterr().err


def test_one_of_the_three_budgets_is_needed(capsys):
    assert main(["audit", "--images", str(Path("/tmp"))]) == 2
    assert "one of --epsilon, --noise-multiplier and --mu" in capsys.readouterr().err


# ---------------------------------------------------------------- one paragraph, page and paper


def test_the_paragraph_names_noise_budget_and_limits(answered):
    found = answered[1]
    text, noise = found["statement"], found["recommendation"]["noise"][0]
    assert "30 images were attacked with the prior p" in text
    assert f"noise multiplier {answer.number(noise['noise_multiplier'])}" in text
    assert "At no noise tried is it shown that every attack recovers less than 5\u00a0%" in text
    assert f"the visual µ of no attack exceeds {answer.number(noise['visual_mu_limit'])}" in text
    assert "among 10, 100 and 1,000 equally likely candidates" in text
    inside = found["recommendation"] | {"state": "inside"}
    assert "every attack tried recovers less than 5\u00a0%" in answer.statement(found | {"recommendation": inside})


def test_the_answer_stands_at_the_head_of_the_page(answered, tmp_path):
    layout, found = answered
    made = {"mu=5": layout.results / "reconstructions/mu=5.npz"}
    layout = types.SimpleNamespace(results=layout.results, report=tmp_path / "report.html", seen=lambda config: made)
    layout.report.write_text("<body><main>\n<p>the study</p></main>")
    setup = budget.setup(noise_multiplier=[0.2], steps=4)
    for name in ("shown", "redacted"):
        config = Config(report={"redact": name == "redacted"})
        page.build(layout, config, setup, found, tmp_path / f"{name}.html")
    shown, redacted = ((tmp_path / f"{name}.html").read_text() for name in ("shown", "redacted"))
    assert shown.index("The answer") < shown.index("the study")
    assert shown.count('<tr><th scope="row">') == 2 * len(found["adversaries"]) == 4
    assert "no public images are at hand" in shown
    assert "data:image/png" in shown
    assert "data:image" not in redacted
    assert found["statement"] in redacted


def test_a_pdf_without_a_browser_is_refused_by_name(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(pdf.shutil, "which", lambda name: None)
    assert main(["audit", "--images", "/tmp", "--mu", "5", "--pdf"]) == 2
    assert "--pdf needs one of chromium" in capsys.readouterr().err
    monkeypatch.setattr(pdf.shutil, "which", lambda name: "/bin/false")
    with pytest.raises(VpauditError, match="could not print"):
        pdf.write(tmp_path / "page.html", tmp_path / "page.pdf")
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- a first look


def test_a_first_look_is_a_part_of_the_whole_audit(pictures):
    first, whole = prepared(pictures, quick=True), prepared(pictures)
    assert first.config == whole.first_look
    assert np.array_equal(first.chosen.images, whole.chosen.images[: audit.QUICK])
    assert set(first.config.mechanism.mu) < set(whole.config.mechanism.mu)
    assert audit.FIRST_LOOK in first.warnings
    assert all(a in whole.config.attacks for a in first.config.attacks)
    assert not any(a.stochastic for a in first.config.attacks)


def test_what_a_first_look_computed_is_not_computed_again(pictures, tmp_path, monkeypatch):
    """Of 12 images the whole audit attacks the two that are left."""
    attacks, computed = [Attack(name="wiener", kind="wiener")], []
    monkeypatch.chdir(places.SHIPPED)
    monkeypatch.setattr(reconstruct, "shard", lambda *a, plain=reconstruct.shard: computed.append(a[2]) or plain(*a))
    layouts = []
    for job in (prepared(pictures, quick=True), prepared(pictures)):
        images = tmp_path / job.config.study / "images.npz"
        images.parent.mkdir()
        np.savez(images, x=job.chosen.images)
        there = job.config.data.model_copy(update={"folder": str(images)})
        study = job.config.model_copy(update={"attacks": attacks, "data": there, "success": Success(references=[])})
        layout = Layout(study)
        layout.results, layout.work = images.parent / "results", images.parent / "work"
        for before in layouts:
            audit._take_over(before, layout)
        data_stage.targets(study, layout)
        privatize.privatize(study, layout, "5")
        reconstruct.reconstruct(study, layout, "5", device="cpu")
        layouts.append(layout)
    assert [len(job.seen) for job in computed] == [10, 2]
    made = [np.load(layout.reconstruction("5"))["gaussian.wiener"] for layout in layouts]
    assert np.array_equal(made[0], made[1][:, :10])


def test_a_mu_alone_is_one_release_and_names_no_adversary(answered):
    layout = answered[0]
    found = answer.build(layout, budget.setup(mu=[5.0]), FACTS)
    text = answer.text(found)
    assert found["adversaries"] == found["budgets"] == []
    assert "for an adversary who sees one release of each" in found["statement"]
    assert "µ = 5: as given (alone ε =" in text
    assert "Who sees what" not in text
    assert "Noise multiplier, in one release: more than 1.00" in text
