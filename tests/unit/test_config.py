"""Configuration: generated documents, refused keys, what a stage depends on."""

import pytest

from vpaudit import config, config_docs
from vpaudit.errors import VpauditError


def test_generated_documents_match_the_model(root, monkeypatch):
    monkeypatch.chdir(root)
    config_docs.write(check=True)


def test_the_default_file_is_the_default(root):
    assert config.load(root / "config" / "config.yaml") == config.Config()


@pytest.mark.parametrize("name", ["config.yaml", "smoke.yaml"])
def test_shipped_configurations_are_valid(root, name):
    config.load(root / "config" / name)


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
    ],
)
def test_bad_keys_and_values_are_named(overlay, expected):
    with pytest.raises(VpauditError, match=expected.replace("[", r"\[")):
        config.resolve(overlay)


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


def test_a_stage_depends_only_on_its_own_part():
    base = config.Config()
    style = config.resolve({"figures": {"style": "other"}})
    more = config.resolve({"mechanism": {"mu": [1, 2, 3, 5, 10, 20, 50, 100, 200]}})
    longer = config.resolve({"prior": {"training": {"images_seen": 5}}})
    for stage in ("data", "privatize", "reconstruct", "evaluate"):
        for other in (style, more, longer):
            assert config.stage_settings(base, stage) == config.stage_settings(other, stage)
    assert config.stage_settings(base, "figures") != config.stage_settings(style, "figures")
    assert config.stage_settings(base, "bounds") != config.stage_settings(more, "bounds")
    redacted = config.resolve({"report": {"redact": True}})
    assert config.stage_settings(redacted, "report")["report"] == {"redact": True}
    assert config.stage_settings(base, "report")["report"] == {"redact": False}
    assert config.stage_settings(base, "figures") == config.stage_settings(redacted, "figures")
    seed = config.resolve({"seed": 1})
    for stage in ("data", "privatize", "reconstruct", "evaluate"):
        assert config.stage_settings(base, stage) != config.stage_settings(seed, stage)
