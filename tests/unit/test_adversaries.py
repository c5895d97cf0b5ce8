"""Four adversaries of one training: what each has of the image, simulated where participation is unknown."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from vpaudit.attack import participation
from vpaudit.attack.participation import Normal
from vpaudit.base import places
from vpaudit.base.adversaries import ADVERSARIES
from vpaudit.base.errors import VpauditError
from vpaudit.commands.audit import budget, seen
from vpaudit.commands.audit import job as audit
from vpaudit.commands.audit import prior as priors
from vpaudit.priors.gaussian import GaussianPrior
from vpaudit.privacy import adversaries, rero
from vpaudit.privacy.mechanism import Mechanism, Observation
from vpaudit.stages import data as data_stage
from vpaudit.stages import participation as stage
from vpaudit.study.config import Attack
from vpaudit.study.layout import Layout

TRAINING = (0.586, 0.01, 1000)  # noise multiplier, sample rate, steps: epsilon = 8


def of(training):
    return {name: adversaries.mu(name, *training) for name in ADVERSARIES}


def test_who_sees_more_has_a_larger_mu():
    for training in (TRAINING, (5.0, 0.1, 100), (0.1, 0.01, 1000), (1.0, 0.5, 7)):
        mu = of(training)
        assert mu["final_model"] < mu["participation_unknown"] < mu["participation_known"]
    assert of(TRAINING)["final_model"] == pytest.approx(0.01 * np.sqrt(1000) / 0.586)
    assert of(TRAINING)["participation_known"] == pytest.approx(np.sqrt(10) / 0.586)


def test_the_full_batch_leaves_nothing_unknown():
    mu = of((2.0, 1.0, 9))
    assert mu["final_model"] == mu["participation_unknown"] == mu["participation_known"] == 1.5


def test_participation_is_guessed_at_much_noise_and_known_at_little():
    assert adversaries.squared_participation(0.0, 0.01) == pytest.approx(1e-4)
    assert adversaries.squared_participation(40.0, 0.01) == pytest.approx(0.01)


@pytest.mark.parametrize("mu", [0.5, 1.7, 4.0])
def test_squared_participation_is_the_mean_over_rounds(mu):
    rng, rate = np.random.default_rng(0), 0.1
    present = rng.random(400_000) < rate
    u = rng.standard_normal(len(present)) + mu * present
    odds = np.log(rate / (1 - rate)) + mu * u - mu**2 / 2
    assert adversaries.squared_participation(mu, rate) == pytest.approx(np.mean((1 + np.exp(-odds)) ** -2.0), rel=0.02)


@pytest.mark.parametrize("name", ADVERSARIES)
def test_noise_for_a_mu_gives_that_mu(name):
    for wanted in (0.2, 3.0, 40.0):
        noise = adversaries.noise_multiplier(name, wanted, 0.01, 1000)
        assert adversaries.mu(name, noise, 0.01, 1000) == pytest.approx(wanted)


def test_chances_of_being_named_are_those_of_reconstruction_robustness():
    known = adversaries.named("participation_known", *TRAINING, 100)
    assert known == pytest.approx(rero.gamma_of_mu(of(TRAINING)["participation_known"], 0.01))
    unknown = adversaries.named("participation_unknown", *TRAINING, 100)
    assert unknown == rero.gamma_poisson(*TRAINING, 0.01).gamma == adversaries.named("final_model", *TRAINING, 100)
    assert 0.01 < unknown < known


def test_an_adversary_nobody_knows_is_answered_with_those_there_are():
    with pytest.raises(VpauditError, match="known: final_model, participation_unknown"):
        adversaries.mu("somebody", *TRAINING)


# ---------------------------------------------------------------- products of noise that is never held


def test_answers_are_those_of_one_matrix():
    """w (Z v) = (w Z) v of every pair asked, also where a question depends on an answer or repeats one."""
    noise, rng = Normal([("a", 0), ("a", 1)], 50, 30), torch.Generator().manual_seed(0)
    vectors = [torch.randn(2, 30, generator=rng, dtype=torch.float64)]
    weights = [noise.times(vectors[0]).sigmoid()]
    sums = [noise.weighted(weights[0])]
    vectors.append(sums[0] + vectors[0])
    answers = [noise.times(v) for v in vectors]
    weights.append(answers[1])
    sums.append(noise.weighted(weights[1]))
    for v, given in zip(vectors, answers):
        for w, total in zip(weights, sums):
            assert torch.allclose((w * given).sum(1), (total * v).sum(1))
    assert torch.allclose(noise.times(vectors[0]), answers[0])


def test_answers_have_the_law_of_a_matrix_held_in_memory():
    """Means of |wZ|^2 with w chosen by the first answer, for which selection and fresh noise matter."""

    def asked(times, weighted):
        first = times(torch.ones(400, 6, dtype=torch.float64))
        return weighted((first > 1).double()).square().sum(1)

    held = torch.randn(400, 20, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    lazy = Normal([("b", k) for k in range(400)], 20, 6)
    found = asked(lazy.times, lazy.weighted)
    want = asked(lambda v: torch.einsum("btn,bn->bt", held, v), lambda w: torch.einsum("bt,btn->bn", w, held))
    error = (found.var() / 400 + want.var() / 400).sqrt()
    assert abs(found.mean() - want.mean()) < 4 * error


# ---------------------------------------------------------------- the attack


@pytest.fixture(scope="module")
def simulated():
    """128 images of a Gaussian law that is the prior, and what the adversary makes of 1,000 rounds of each."""
    rng = torch.Generator().manual_seed(3)
    prior = GaussianPrior(
        0.5 * torch.ones(1, 8, 8), torch.linalg.qr(torch.randn(64, 64, generator=rng))[0], torch.logspace(-0.5, -3, 64)
    )
    x = prior.mean + prior.colour(torch.randn(128, 1, 8, 8, generator=rng))
    rule, ids = Mechanism(1 / 0.3), torch.arange(128)
    lam = rule.clip_factor(x)
    seen = Observation(torch.zeros_like(x), lam, rule.sigma, ids, -torch.ones_like(ids), "gaussian", rule.mu)
    halves = participation.halves(x, seen, 1000, 0.01, 0)

    def estimate(o):
        return prior.denoise(o.rescaled(), o.s.float())

    return x, seen, participation.attack(halves, seen, 0.01, estimate), estimate


def test_all_rounds_are_worth_more_than_their_mean_and_no_more_than_with_an_exact_template(simulated):
    _, _, found, _ = simulated
    worth = float((1 / found.sigma).mean())
    assert adversaries.mu("final_model", 0.3, 0.01, 1000) < worth
    assert worth < 1.02 * adversaries.mu("participation_unknown", 0.3, 0.01, 1000)


def test_the_noise_it_claims_is_the_noise_there_is(simulated):
    """Across the image; so a prior may take the observation for one release."""
    x, seen, found, _ = simulated
    theta = seen.lam[:, None] * x.double().flatten(1)
    y = found.y.double().flatten(1)
    across = y - (y * theta).sum(1, keepdim=True) / theta.square().sum(1, keepdim=True) * theta
    ratio = across.square().sum(1) / (63 * found.sigma**2)
    assert float(ratio.mean()) == pytest.approx(1, abs=0.06)


def test_it_reconstructs_better_than_the_mean_of_all_rounds(simulated):
    x, seen, found, estimate = simulated
    halves = participation.halves(x, seen, 1000, 0.01, 0)
    blind = participation.attack(halves, seen, 0.01, estimate, iterations=0)
    assert float((1 / blind.sigma).mean()) == pytest.approx(adversaries.mu("final_model", 0.3, 0.01, 1000))
    error, before = ((estimate(o) - x).square().mean() for o in (found, blind))
    assert error < 0.9 * before


@pytest.mark.parametrize("noise", [0.3, 0.586])
def test_it_names_images_less_often_than_the_subsampled_bound_allows(simulated, noise):
    """Of 128 candidates of equal norm, from all rounds; participation is as random as the noise."""
    x, seen, _, estimate = simulated
    rule = Mechanism(1 / noise)
    seen = replace(seen, sigma=torch.full_like(seen.sigma, rule.sigma), mu=rule.mu)
    found = participation.attack(participation.halves(x, seen, 1000, 0.01, 0), seen, 0.01, estimate)
    score = found.y.double().flatten(1) @ (seen.lam[:, None] * x.double().flatten(1)).T
    named = (score.argmax(dim=1) == torch.arange(128)).double()
    error = (named.mean() * (1 - named.mean()) / 128).sqrt()
    assert named.mean() > 1 / 128
    assert named.mean() - 3 * error < adversaries.named("participation_unknown", noise, 0.01, 1000, 128)


def test_a_template_that_no_round_resembles_leaves_the_mean_of_all_rounds(simulated):
    x, seen, _, _ = simulated
    rounds = participation.halves(x, seen, 1000, 0.01, 0)[0]
    blind = participation._score(rounds, seen, None, 0.01)
    misled = participation._score(rounds, seen, 20 * torch.ones_like(rounds.theta), 0.01)
    assert torch.equal(misled.y, blind.y)
    assert torch.equal(misled.sigma, blind.sigma)


# ---------------------------------------------------------------- through stage and answer


def test_unknown_participation_is_attacked_and_answered(tmp_path, monkeypatch):
    """From a set-up through the stage to rows of the answer: shares in [.., 1], mu between sum and exact template."""
    images = np.stack(
        [
            np.kron(np.random.default_rng(k).integers(0, 256, (7, 7), np.uint8), np.ones((4, 4), np.uint8))
            for k in range(5)
        ]
    )
    np.savez(tmp_path / "images.npz", x=images)
    setup = budget.setup(noise_multiplier=[0.2, 2.0], steps=200, sample_rate=0.05)
    job = audit.prepare(str(tmp_path / "images.npz"), setup, priors.named("fashion_mnist_dit"))
    kept = [Attack(name="posterior_mean", kind="posterior_mean"), Attack(name="ddim", kind="ddim", steps=2)]
    folder = job.config.data.model_copy(update={"folder": str(tmp_path / "images.npz")})
    study = job.config.model_copy(update={"attacks": kept, "data": folder})
    monkeypatch.chdir(places.SHIPPED)
    layout = Layout(study)
    layout.results, layout.work = tmp_path / "results", tmp_path / "work"
    data_stage.targets(study, layout)
    stage.participation(study, layout, device="cpu")
    table = pd.read_parquet(layout.table("participation"))
    assert set(table["noise_multiplier"]) == {0.2, 2.0}
    for noise in setup.simulated:
        worth = table[(table["noise_multiplier"] == noise) & (table["metric"] == "mu")]["value"]
        assert worth.between(0.5 * adversaries.mu("final_model", noise, 0.05, 200), 200**0.5 / noise).all()
    with np.load(layout.participation(0.2)) as made:
        assert made["unconditional.ddim"].shape == (1, 5, 1, 28, 28)
    for which in (0, 1):
        rows = seen.seen_by(setup, which, table)
        assert [row["adversary"] for row in rows] == list(ADVERSARIES)
        unknown = next(row for row in rows if row["adversary"] == "participation_unknown")
        assert unknown["mu_low"] <= unknown["mu"] <= unknown["mu_high"]
        assert all(0 < chance < 1 for chance in unknown["named"].values())
    shares = seen.visible_unknown(table[table["noise_multiplier"] == 0.2], ["mse", "ssim"])
    assert {(row["attack"], row["metric"]) for row in shares} == {
        (a, m) for a in ("posterior_mean", "ddim") for m in ("mse", "ssim")
    }
    assert all(row["recovered"] <= row["recovered_high"] <= 1 for row in shares)
