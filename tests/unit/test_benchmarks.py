"""The peers of benchmarks/ are really called: they count their calls, see the right noise and end on [-1, 1]."""

import sys

import numpy as np
import pandas as pd
import pytest
import torch

from vpaudit import data
from vpaudit.base import pixels
from vpaudit.base.randomness import generator
from vpaudit.experiments.peers.figure import contest
from vpaudit.priors.gaussian import GaussianPrior
from vpaudit.priors.network import NetworkPrior
from vpaudit.priors.radial import RadialPrior
from vpaudit.priors.train import build_network, build_scheduler
from vpaudit.sampling import samplers
from vpaudit.study.config import Training


@pytest.fixture(scope="module")
def peers(root):
    sys.path.insert(0, str(root / "benchmarks"))
    try:
        import peers

        yield peers
    finally:
        sys.path.remove(str(root / "benchmarks"))


@pytest.fixture(scope="module")
def prior():
    torch.manual_seed(0)
    network = build_network((1, 8, 8), 10, Training(width=32, layers=1, heads=2, patch_size=2))
    for weight in network.parameters():
        if weight.requires_grad:
            torch.nn.init.normal_(weight, std=0.1)
    return NetworkPrior(network, build_scheduler(), 0.02, 150.0, rows=8)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("s", [0.3, 2.3])
def test_every_peer_runs_within_its_calls(peers, prior, s):
    y = s * torch.randn((4, 1, 8, 8), generator=generator("y"))
    for name in [*peers.OURS, *peers.PEERS]:
        if name == "fitted few-step":
            continue  # this network has no fitted solver
        asked = 1 if name == "posterior mean" else 6
        images, calls = peers.run(name, prior, y, s, asked)
        assert torch.isfinite(images).all()
        assert images.abs().max() <= 1
        assert abs(calls - asked) <= 1, name


@torch.inference_mode()
def test_peers_of_the_same_method_agree_with_ours(peers, prior):
    """diffusers' DDIM in 200 steps and ours solve the same flow: the adapter hands over the right noise."""
    s = float(prior.table.sigma_of_t(torch.tensor([400.0])))
    y = torch.rand((4, 1, 8, 8), generator=generator("x")) - 0.5
    y = y + s * torch.randn(y.shape, generator=generator("z"))
    theirs, _ = peers.run("diffusers DDIM", prior, y, s, 200)
    levels = samplers.noise_levels(torch.full((4,), s), 200)
    ours = samplers.last(samplers.ddim_steps(prior.denoise, y, levels)).clamp(-1, 1)
    assert float((theirs - ours).square().mean().sqrt()) < 0.03


@torch.inference_mode()
def test_the_unit_range_wrapper_is_the_same_denoiser(peers, prior):
    """x on [0, 1] at s / 2 must be x on [-1, 1] at s: the factor of two that deepinv has lost before."""
    x, s = torch.randn((4, 1, 8, 8), generator=generator("u")), 0.8
    wrapped = peers.UnitRange(peers.Counted(prior), grad=False)
    want = prior.denoise(x, torch.full((4,), s))
    assert torch.allclose(2 * wrapped((x + 1) / 2, s / 2) - 1, want, atol=1e-4)
    with_grad = peers.UnitRange(peers.Counted(prior), grad=True)
    assert torch.allclose(2 * with_grad((x + 1) / 2, torch.tensor(s / 2)) - 1, want, atol=1e-4)


def test_who_is_ahead_is_read_off_the_table():
    """By hand: at 6 calls the peer is ahead in SSIM and behind in MSE; it reaches our best SSIM in half the time."""
    runs = [
        # method, ours, mu, asked, calls, mse, ssim, seconds
        ("few", True, 5, 3, 3, 0.20, 0.50, 1.0),
        ("few", True, 5, 6, 6, 0.10, 0.60, 2.0),
        ("few", True, 5, 8, 8, 0.01, 0.60, 2.0),  # more calls than the peer made
        ("slow", False, 5, 6, 7, 0.12, 0.66, 1.0),
        ("slow", False, 5, 20, 20, 0.11, 0.65, 4.0),
    ]
    rows = []
    for *about, mse, ssim, seconds in runs:
        for image, share in enumerate((0.9, 1.0, 1.1)):  # alike in all runs: the paired ratio has no spread
            for metric, value in (("mse", mse), ("ssim", ssim)):
                rows.append((*about, seconds, image, metric, value * share))
    columns = ["method", "ours", "mu", "asked", "calls", "seconds", "image", "metric", "value"]
    found = contest(pd.DataFrame(rows, columns=columns))
    ratios = found[found["quantity"] == "best peer / ours"].set_index(["metric", "calls"])
    for place, want in {("mse", 6): 1.2, ("mse", 20): 11, ("ssim", 6): 1.1, ("ssim", 20): 0.65 / 0.6}.items():
        assert ratios.loc[place, ["value", "low", "high"]].tolist() == pytest.approx([want] * 3)
    times = found[found["quantity"] == "time / ours"].set_index("metric")["value"]
    assert np.isnan(times["mse"])
    assert times["ssim"] == pytest.approx(0.5)


def test_how_far_two_processors_are_apart(root, monkeypatch):
    """By hand: one image off by 1 %, the mean by 0.5 %; a value next to 0 agrees by its absolute difference."""
    monkeypatch.syspath_prepend(str(root / "benchmarks"))
    from processors import differences

    keys = {"attack": "ddim", "metric": ["mse", "mse", "ncc"], "image": [1, 2, 1]}
    base, found = (pd.DataFrame({**keys, "value": v}) for v in ([1.0, 1.0, 1e-7], [1.01, 1.0, 3e-7]))
    table = differences("AVX2", "float32", found, base).set_index("metric")
    assert table["image"].tolist() == pytest.approx([0.01, 2.0])
    assert table["mean"].tolist() == pytest.approx([0.005, 2.0])
    assert table["within"].tolist() == [0.5, 1.0]


def test_the_matrix_of_priors_and_domains_tells_who_knows_what(root, monkeypatch, tmp_path, capsys):
    """Two small Gaussians, each on its own kind and on the other's: below the images' spectrum at home alone."""
    monkeypatch.syspath_prepend(str(root / "benchmarks"))
    import prior_matrix

    sets = {"fashion_mnist": ("clothes", "MIT"), "digits": ("digits", ""), "faces_of_nobody": ("nobody", "")}
    fitted = {
        about[0]: GaussianPrior.fit(pixels.from_uint8(data.load(card, "train").images[:1000]))
        for card, about in list(sets.items())[:2]
    }
    monkeypatch.setattr(prior_matrix, "SETS", sets)
    monkeypatch.setattr(prior_matrix, "rows", lambda: iter(prior_matrix.Row(*item) for item in fitted.items()))
    place = ["--results", str(tmp_path / "tables"), "--figures", str(tmp_path / "figures")]
    monkeypatch.setattr(sys, "argv", ["prior_matrix", "--images", "12", *place])
    prior_matrix.main()
    assert "without nobody: no data set 'faces_of_nobody'" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "tables/matrix.csv")
    assert len(table) == 4 * len(prior_matrix.MU)
    assert set(table["n"]) == {12}
    assert (table["low"] <= table["mse"]).all()
    assert (table["ratio_low"] <= table["ratio"]).all()
    ratio = table[table["mu"] == 20].set_index(["prior", "domain"])["ratio"]
    for own, other in (("clothes", "digits"), ("digits", "clothes")):
        assert ratio[own, own] < 1 < ratio[other, own]
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == ["fashion_mnist.png", "matrix.png"]


def test_priors_stand_in_the_matrix_beside_their_gaussians(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "benchmarks"))
    import prior_matrix

    rows = {row.name: row for row in prior_matrix.rows()}
    assert {"fashion_mnist_dit", "fashion_mnist_dit, Gaussian"} <= set(rows)
    grey, colour = torch.zeros(2, 1, 40, 40), torch.zeros(2, 3, 40, 40)
    assert rows["fashion_mnist_dit"].takes(grey) == (1, 28, 28)
    assert rows["fashion_mnist_dit"].takes(colour) is None
    assert prior_matrix.Row("any", RadialPrior.fit([torch.rand(4, 3, 40, 40)])).takes(grey) == (3, 40, 40)


def test_decibels_are_gained_over_the_gaussian_under_the_same_noise(root, monkeypatch):
    """A prior that is its own Gaussian gains 0; one that leaves half of the Gaussian's error, 6.02 dB."""
    monkeypatch.syspath_prepend(str(root / "benchmarks"))
    import any_size

    x = 2 * torch.rand(6, 3, 16, 16, generator=generator(0)) - 1

    class Halved:
        base = RadialPrior.fit([x])

        def denoise(self, y, sigma):
            return (self.base.denoise(y, sigma).clamp(-1, 1) + x) / 2

    same, halved = Halved(), Halved()
    same.denoise = same.base.denoise
    assert (any_size.decibels(same, x, "noise")["gain"] == 0).all()
    table = any_size.decibels(halved, x, "noise")
    assert table["gain"].to_numpy() == pytest.approx(20 * np.log10(2), abs=1e-3)
    assert table["psnr"].to_numpy() == pytest.approx(table["gaussian_psnr"] + table["gain"], abs=1e-3)
    assert table["grey_levels"][2] == pytest.approx(25)


@pytest.fixture
def photographs(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "benchmarks"))
    import photographs

    return photographs


def test_classical_denoisers_are_told_the_noise_in_their_own_range(photographs):
    """A ramp under noise s on [-1, 1], which is s / 2 on [0, 1]: told so, they leave less than a third of s^2."""
    s, x = 0.4, torch.linspace(-0.8, 0.8, 48).expand(2, 3, 48, 48)
    y = x + s * torch.randn(x.shape, generator=generator("classical"))
    for denoise in photographs.CLASSICAL.values():
        assert (photographs.classical(denoise, y, s) - x).square().mean() < s**2 / 3


def test_methods_are_held_against_our_ddim_at_as_many_calls(photographs):
    """By hand, 8 images: 3 dB above it at 8 calls and 1 dB below it at 20; no calls are held against the fewest."""
    runs = [("DDIM", True, 8, 30, 0.2), ("DDIM", True, 20, 29, 0.1), ("wavelets", False, 0, 25, 0.4)]
    runs += [("peer", False, 8, 33, 0.1), ("peer", False, 20, 28, 0.2)]
    tables = []
    for method, ours, asked, psnr, lpips in runs:
        about = {"grey_levels": 50, "method": method, "ours": ours, "asked": asked, "calls": asked, "seconds": 1.0}
        for image in range(8):
            pair = {"metric": ["psnr", "lpips_vgg"], "value": [psnr + image, lpips * (1 + image)]}
            tables.append(pd.DataFrame(about | {"image": image} | pair))
    found = photographs.quality(pd.concat(tables)).set_index(["method", "asked"])
    for key, gain, ratio in (("peer", 8), 3, 0.5), (("peer", 20), -1, 2), (("wavelets", 0), -5, 2):
        assert found.loc[key, ["gain", "gain_low", "gain_high"]].tolist() == pytest.approx([gain] * 3)
        assert found.loc[key, "lpips_ratio"] == pytest.approx(ratio)
    assert found.loc[("wavelets", 0), "to_calls"] == 8
    assert set(found["n"]) == {8}


def test_at_equal_mu_the_noise_of_a_pixel_grows_with_the_side(photographs, monkeypatch):
    """Images that are alike at both sizes have twice the norm at twice the side, so twice the noise a pixel."""
    small = 2 * torch.rand((4, 3, 32, 32), generator=generator("sizes")) - 1
    whole = small.repeat_interleave(2, 2).repeat_interleave(2, 3)
    monkeypatch.setattr(photographs, "SIDES", (32, 64))
    table = photographs.sizes(RadialPrior.fit([small, whole]), whole).set_index(["side", "mu", "attack"])
    assert len(table) == 2 * len(photographs.MU) * len(photographs.ATTACKS)
    for mu in photographs.MU:
        below, above = (table.loc[(side, mu, "posterior_mean")] for side in (32, 64))
        assert above["s"] == pytest.approx(2 * below["s"], rel=1e-6)
        assert above["unrelated"] == pytest.approx(below["unrelated"], rel=1e-6)
        assert below["mse_ratio"] == below["coarse_ratio"] == 1
        assert above["share"] == pytest.approx(above["mse"] / above["unrelated"])
