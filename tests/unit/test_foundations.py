"""Ranges, keyed randomness, files, journal, statistics."""

import errno
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vpaudit.base import files, pixels, stats
from vpaudit.base.errors import VpauditError
from vpaudit.base.randomness import KeyedNoise, seed_of
from vpaudit.priors.schedule import SigmaTable
from vpaudit.priors.train import build_scheduler
from vpaudit.study.checkpoints import Journal


def test_every_byte_survives_the_round_trip():
    array = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    image = pixels.from_uint8(array)
    assert image.min() == -1
    assert image.max() == 1
    assert np.array_equal(pixels.to_uint8(image), array)


def test_sigma_follows_the_range():
    """Noise of std 0.2 on [-1, 1] is 0.1 on [0, 1]: measured, not assumed."""
    noise = 0.4 * torch.randn((1, 1, 300, 300), generator=torch.Generator().manual_seed(0)) * 0.5
    unit = pixels.to_unit(noise)
    assert float(unit.std()) == pytest.approx(0.2 / pixels.DATA_RANGE, rel=0.02)


def test_output_is_clipped_never_stretched():
    faint = torch.full((1, 1, 2, 2), 0.1)
    faint[0, 0, 0, 0] = 3.0
    assert pixels.to_uint8(faint).tolist() == [[[255, 140], [140, 140]]]


def test_noise_depends_on_its_key_alone():
    keys = [(1, "a", i) for i in range(5)]
    whole, alone = KeyedNoise(keys, (1, 4, 4)), KeyedNoise(keys[3:4], (1, 4, 4))
    for _ in range(3):
        assert torch.equal(whole()[3:4], alone())


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_different_keys_give_different_seeds(a, b):
    assert (seed_of("x", a) == seed_of("x", b)) == (a == b)
    assert seed_of("x", a, "y") != seed_of("x", f"{a}y")


def test_a_failed_write_leaves_nothing(tmp_path):
    def fail():
        with files.atomic(tmp_path / "a.txt") as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_full_disk_is_said_and_keeps_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(VpauditError, match="no space left"), files.atomic(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_really_full_disk(tmp_path):
    """/dev/full fails every write with ENOSPC."""
    with (
        pytest.raises(VpauditError, match="no space left"),
        files.atomic(tmp_path / "b"),
        open("/dev/full", "w") as file,
    ):
        file.write("x" * 10**6)


def test_json_round_trip_and_named_errors(tmp_path):
    files.write_json(tmp_path / "a.json", {"b": [1.5]})
    assert json.loads((tmp_path / "a.json").read_text()) == {"b": [1.5]}
    with pytest.raises(VpauditError, match=r"c\.json"):
        files.read_json(tmp_path / "c.json")
    (tmp_path / "d.json").write_text("{")
    with pytest.raises(VpauditError, match=r"d\.json"):
        files.read_json(tmp_path / "d.json")


def test_journal_computes_once_and_mends_a_torn_shard(tmp_path):
    source = tmp_path / "code.py"
    source.write_text("1")
    calls = []

    def compute():
        calls.append(1)
        return np.ones(3)

    assert Journal(tmp_path / "j", [source], [])({"a": 1}, compute).sum() == 3
    Journal(tmp_path / "j", [source], [])({"a": 1}, compute)
    assert len(calls) == 1
    shard = next((tmp_path / "j").glob("*.npz"))
    shard.write_bytes(shard.read_bytes()[:40])
    assert Journal(tmp_path / "j", [source], [])({"a": 1}, compute).sum() == 3
    assert len(calls) == 2
    Journal(tmp_path / "j", [source], [])({"a": 2}, compute)
    source.write_text("2")
    Journal(tmp_path / "j", [source], [])({"a": 1}, compute)
    assert len(calls) == 4


def test_bootstrap_covers_the_mean():
    """95 % intervals of 200 samples of 60 normals: about 190 cover, binomial std 3."""
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        _, low, high = stats.bootstrap(rng.normal(2.0, 1.0, 60), seed=trial, resamples=500)
        covered += low <= 2.0 <= high
    assert 177 <= covered <= 199


def test_bootstrap_keeps_columns_paired():
    base = np.random.default_rng(1).normal(0, 10, 80)
    pair = np.stack([base, base + 1.0], axis=1)
    value, low, high = stats.bootstrap(pair, lambda rows: (rows[:, 1] - rows[:, 0]).mean())
    assert (value, low, high) == pytest.approx((1.0, 1.0, 1.0))


def test_rank_correlation_against_scipy():
    from scipy.stats import spearmanr

    rng = np.random.default_rng(2)
    a = rng.normal(size=100)
    b = a + rng.normal(size=100)
    value, low, high = stats.rank_correlation(a, b, seed=0)
    assert value == pytest.approx(spearmanr(a, b).statistic, abs=2e-3)  # near ties
    apart = rng.permutation(100) - 50.0, np.round(3 * b)  # either sign, exact ties
    assert stats.spearman(*apart) == pytest.approx(spearmanr(*apart).statistic)
    counts = rng.integers(3, size=100)
    assert stats.spearman(a, b, counts) == pytest.approx(stats.spearman(np.repeat(a, counts), np.repeat(b, counts)))
    assert np.isnan(stats.spearman(np.full(100, 0.7), b))
    assert low < value < high
    null = [stats.rank_correlation(rng.permutation(a), b, seed=0, resamples=200) for _ in range(100)]
    assert sum(low > 0 or high < 0 for _, low, high in null) <= 12


def test_timesteps_follow_sigma_with_the_slope_of_the_schedule():
    """Against numpy's interpolation, and differences; clamped at both ends."""
    table = SigmaTable(build_scheduler().alphas_cumprod)
    sigma = torch.logspace(-2.5, 2.5, 501, dtype=torch.float64, requires_grad=True)
    t = table.t_of_sigma(sigma)
    expected = np.interp(sigma.detach().log().numpy(), table.log_sigmas, np.arange(1000))
    assert np.array_equal(t.detach().numpy(), expected.astype(np.float32))
    (slope,) = torch.autograd.grad(t.sum(), sigma)
    inside = slice(100, 400)  # sigma from 0.03 to 30
    differences = np.gradient(expected, sigma.detach().numpy())[inside]
    assert np.allclose(slope.numpy()[inside], differences, rtol=0.05)
    assert float(slope[0]) == float(slope[-1]) == 0
