"""Configuration: the default file, refused keys."""

import pytest

from vpaudit import data
from vpaudit.base.errors import VpauditError
from vpaudit.privacy import accounting
from vpaudit.study import config


def test_the_default_file_is_the_default(root):
    assert config.load(root / "config" / "config.yaml") == config.Config()


@pytest.mark.parametrize("name", ["config.yaml", "smoke.yaml", "domains.yaml", "dpsgd.yaml"])
def test_shipped_configurations_are_valid(root, name):
    config.load(root / "config" / name)


@pytest.mark.parametrize(
    ("overlays", "study", "lpips"),
    [
        ((), "paper-cifar10", "lpips_vgg_64"),
        (("celebahq",), "paper-celebahq", "lpips_vgg"),
        (("imagenet",), "paper-imagenet", "lpips_vgg"),
    ],
)
def test_the_papers_studies_lie_over_what_they_share(root, overlays, study, lpips):
    """5,000 images, ten mu, one DDIM and sixteen draws each; noise within the public priors' range for every image."""
    files = [root / "config/paper.yaml", *(root / f"config/paper/{name}.yaml" for name in overlays)]
    found = config.load(*files)
    about = data.card(found.data.name)
    assert (found.study, found.lpips, found.data.images) == (study, lpips, 5000)
    assert [a.draws for a in found.attacks if a.kind in ("ddim", "multistep")] == [1, 16]
    assert len(found.mechanism.mu) == 10
    assert found.prior.gaussian == f"results/{study}/gaussian"
    channels, height, width = about["shape"]
    brightest = (channels * height * width) ** 0.5  # |x| of an all-white image on [-1, 1]
    assert brightest / found.mechanism.mu[0] <= 157.4
    assert accounting.epsilon_of_mu(found.mechanism.mu[-1], found.mechanism.delta) > 0  # within its verified range
    assert found.shard_size % found.prior.rows == 0
    assert (found.jobs.images_per_job or 5000) % found.shard_size == 0


def test_later_files_win_key_by_key(tmp_path):
    (tmp_path / "a.yaml").write_text("data: {images: 7, size: 9}\nmechanism: {mu: [1, 2]}\n")
    (tmp_path / "b.yaml").write_text("data: {images: 8}\nmechanism: {mu: [3]}\n")
    found = config.load(tmp_path / "a.yaml", tmp_path / "b.yaml")
    assert (found.data.images, found.data.size, found.mechanism.mu) == (8, 9, [3.0])


@pytest.mark.parametrize(
    ("overlay", "expected"),
    [
        ({"mechansim": {}}, "did you mean 'mechanism'"),
        ({"mechanism": {"max_grad_nrom": 1}}, "did you mean 'max_grad_norm'"),
        ({"attacks": [{"name": "a", "kind": "ddim", "step": 3}]}, "did you mean 'steps'"),
        ({"mechanism": {"mu": [5, 0]}}, "mechanism.mu: must be > 0, got 0"),
        ({"mechanism": {"mu": [-1]}}, "must be > 0, got -1"),
        ({"mechanism": {"mu": []}}, "at least one"),
        ({"mechanism": {"mu": [1, 1.0]}}, "twice"),
        ({"mechanism": {"delta": 2}}, "mechanism.delta"),
        ({"attacks": [{"name": "a", "kind": "ddim", "draws": 3}]}, "stochastic"),
        ({"attacks": [{"name": "a", "kind": "raw"}, {"name": "a", "kind": "raw"}]}, "used twice"),
        ({"study": "../x"}, "study"),
        ({"attacks": [{"name": "a", "kind": "given_norm", "knowledge": {"lam": "norm"}}]}, "lambda is guessed"),
        ({"attacks": [{"name": "a", "kind": "given_norm", "conditioning": ["true_class"]}]}, "told no class"),
        ({"success": {"attacks": ["posterior_maen"]}}, "no attack 'posterior_maen'; nearest: posterior_mean"),
        ({"success": {"references": ["blank"]}}, "success.references"),
        ({"success": {"draws": 0}}, "success.draws"),
        ({"evaluate": {"margin": 1.0}}, "evaluate.margin"),
    ],
)
def test_bad_keys_and_values_are_named(overlay, expected):
    with pytest.raises(VpauditError, match=expected.replace("[", r"\[")):
        config.resolve(overlay)


def test_success_is_compared_of_attacks_that_ask_once_and_of_measured_metrics():
    told = ["wiener", "posterior_mean", "given_norm"]
    assert [a.name for a in config.Config().compared] == [*told, "posterior_mean_untold"]
    some = config.resolve({"success": {"attacks": ["ddpm", "raw"]}, "evaluate": {"metrics": ["psnr", "mse"]}})
    assert [a.name for a in some.compared] == ["raw", "ddpm"]
    assert some.success_metrics == ["mse"]
    own = config.resolve({"attacks": [{"name": "a", "kind": "raw"}]})  # names none of the default ones, and is valid
    assert own.compared == []


def test_all_problems_at_once():
    with pytest.raises(VpauditError) as caught:
        config.resolve({"mechanism": {"mu": [0]}, "sede": 1})
    assert "mechanism.mu" in str(caught.value)
    assert "'seed'" in str(caught.value)


def test_save_keeps_the_time_stamp_of_an_unchanged_file(tmp_path):
    path = tmp_path / "config.yaml"
    config.save(config.Config(), path)
    before = path.stat().st_mtime_ns
    config.save(config.Config(), path)
    assert path.stat().st_mtime_ns == before
    assert config.load(path) == config.Config()


@pytest.mark.parametrize("content", ["study: x".encode("utf-16"), b"study: caf\xe9"])
def test_text_that_is_not_utf8_is_named(tmp_path, content):
    (tmp_path / "a.yaml").write_bytes(content)
    with pytest.raises(VpauditError, match=r"a\.yaml is not UTF-8"):
        config.load(tmp_path / "a.yaml")
    with pytest.raises(VpauditError, match="cannot be read"):
        config.load(tmp_path)
