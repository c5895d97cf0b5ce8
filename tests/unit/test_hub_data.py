"""Data sets of the hub, served on loopback: rows, splits and labels as they were made; every failure by name."""

import errno
import io
import json

import hub_server
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import yaml
from huggingface_hub import constants
from PIL import Image

from vpaudit import data
from vpaudit.base.errors import VpauditError
from vpaudit.data import huggingface as library
from vpaudit.data import overlap, read
from vpaudit.data import parquet as hub

REPO, NAMES = "tiny/images", ["cat", "dog"]


def picture(number: int) -> np.ndarray:
    """uint8 (20, 24, 3), another for each number."""
    return np.random.default_rng(number).integers(0, 255, (20, 24, 3), dtype=np.uint8)


def parquet(numbers) -> bytes:
    """As the `datasets` library writes it: PNG bytes, a label, class names in the metadata; two rows a group."""
    rows = []
    for number in numbers:
        file = io.BytesIO()
        Image.fromarray(picture(number)).save(file, "PNG")
        rows.append({"bytes": file.getvalue(), "path": f"{number}.png"})
    features = {"img": {"_type": "Image"}, "label": {"names": NAMES, "_type": "ClassLabel"}}
    table = pyarrow.table({"img": rows, "label": [number % 2 for number in numbers]})
    table, out = (
        table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})}),
        io.BytesIO(),
    )
    pyarrow.parquet.write_table(table, out, row_group_size=2)
    return out.getvalue()


@pytest.fixture
def served(monkeypatch):
    files = {
        "data/train-00000-of-00001.parquet": parquet(range(100, 107)),
        "data/test-00000-of-00002.parquet": parquet(range(5)),
        "data/test-00001-of-00002.parquet": parquet(range(5, 12)),
        "README.md": b"not asked for",
    }
    with hub_server.serving(files, REPO, monkeypatch) as server:
        yield server


@pytest.fixture
def about(monkeypatch, tmp_path):
    card = {
        "title": "tiny", "licence": "none", "shape": [3, 16, 16],
        "hub": {"repo": REPO, "revision": "main",
                "splits": {"train": "data/train-*.parquet", "test": "data/test-*.parquet"}},
    }  # fmt: skip
    monkeypatch.setattr(read, "card", lambda name: card)
    monkeypatch.setattr(read, "fetched", lambda: tmp_path)
    return card


def fetch(about, folder, **options):
    return hub.fetch("tiny", about, folder, folder / "lock.yaml", **{"pauses": (), **options})


def test_images_come_back_as_they_were_made(served, about, tmp_path):
    folder = fetch(about, tmp_path)
    test = data.load("tiny", "test")
    assert test.images.shape == (12, 16, 16, 3)
    assert test.labels.tolist() == [number % 2 for number in range(12)]
    assert test.class_names == ("cat", "dog")
    square = Image.fromarray(picture(7)[:, 2:22]).resize((16, 16), Image.Resampling.LANCZOS)
    assert np.array_equal(test.images[7], np.array(square))
    mark = json.loads((folder / "fetched.json").read_text())
    assert mark["commit"] == hub_server.COMMIT
    assert len(mark["sha256"]) == 3  # and not the README
    assert yaml.safe_load((tmp_path / "lock.yaml").read_text())["tiny"]["revision"] == hub_server.COMMIT
    served.requests.clear()
    fetch(about, tmp_path)
    assert not served.requests  # kept


def test_a_draw_decodes_what_it_takes_and_is_that_of_the_whole(served, about, tmp_path, monkeypatch):
    fetch(about, tmp_path)
    whole = data.select(data.load("tiny", "test"), 4, seed=3)
    decoded, decode = [], hub.decode
    monkeypatch.setattr(hub, "decode", lambda content, **options: decoded.append(content) or decode(content, **options))
    drawn = data.draw("tiny", "test", 4, seed=3)
    assert len(decoded) == 4
    for name in ("images", "ids", "labels"):
        assert np.array_equal(getattr(drawn, name), getattr(whole, name))


def test_a_set_of_one_split_is_divided_once_for_all(served, about, tmp_path):
    about["hub"]["splits"] = {"all": "data/test-*.parquet"}
    about["test_images"] = 5
    fetch(about, tmp_path)
    test, train = data.load("tiny", "test"), data.load("tiny", "train")
    assert sorted([*test.ids, *train.ids]) == list(range(12))
    assert len(test) == 5
    found = overlap.examine(test, train, {"trained_on": "them"})
    assert (found["found"], found["twice"], found["compared"]) == ([], [], 7)
    assert overlap.examine(test, test, {})["found"] == test.ids.tolist()


def test_cut_connections_are_taken_up_again_and_tokens_are_sent(served, about, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    served.cuts = 2
    fetch(about, tmp_path, pauses=(0.0, 0.0, 0.0))
    assert [start for _, path, start in served.requests if path.endswith(".parquet") and start]
    assert "Bearer hf_secret" in served.tokens
    assert len(data.load("tiny", "test")) == 12


@pytest.mark.parametrize(
    ("status", "message"),
    [(401, "HTTP 401|not found"), (403, "gated"), (404, "not found"), (429, "HTTP 429"), (503, "HTTP 503")],
    ids=str,
)
def test_refusals_are_named_and_leave_no_mark(served, about, tmp_path, status, message):
    served.status = status
    with pytest.raises(VpauditError, match=message):
        fetch(about, tmp_path)
    with pytest.raises(VpauditError, match=r"run `vpaudit fetch tiny` \(none\)"):
        data.load("tiny", "test")


def test_a_busy_server_is_asked_again(served, about, tmp_path, monkeypatch):
    served.status = 503
    waits = []
    monkeypatch.setattr(library.time, "sleep", lambda pause: waits.append(pause) or setattr(served, "status", 200))
    fetch(about, tmp_path, pauses=(1.0, 4.0))
    assert 1.0 in waits


def test_files_that_are_not_there_are_named(served, about, tmp_path):
    about["hub"]["splits"]["test"] = "data/valid-*.parquet"
    with pytest.raises(VpauditError, match=r"holds no data/valid-\*\.parquet"):
        fetch(about, tmp_path)


def test_other_bytes_than_the_first_time_are_refused(served, about, tmp_path):
    fetch(about, tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b/lock.yaml").write_bytes((tmp_path / "a/lock.yaml").read_bytes())
    served.files["data/test-00001-of-00002.parquet"] = parquet(range(6, 13))
    with pytest.raises(VpauditError, match=r"test-00001.*recorded"):
        fetch(about, tmp_path / "b")
    assert not (tmp_path / "b/tiny/fetched.json").exists()


def test_a_full_disk_is_said_and_not_tried_again(served, about, tmp_path, monkeypatch):
    def full(*args, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(library, "snapshot_download", full)
    with pytest.raises(VpauditError, match="no space left for tiny/images"):
        fetch(about, tmp_path, pauses=(60.0,))


def test_offline_nothing_is_asked(served, about, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(VpauditError, match="HF_HUB_OFFLINE"):
        fetch(about, tmp_path, pauses=(60.0,))
    assert not served.requests


def test_a_folder_of_ones_own_comes_first(served, about, tmp_path, monkeypatch):
    for name, content in served.files.items():
        (tmp_path / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / name).write_bytes(content)
    monkeypatch.setenv("VPAUDIT_MIRROR", str(tmp_path / "mine"))
    fetch(about, tmp_path)
    assert not served.requests
    assert len(data.load("tiny", "test")) == 12
    (tmp_path / "mine/data/train-00000-of-00001.parquet").unlink()  # incomplete: the hub is asked
    fetch(about, tmp_path / "again")
    assert served.requests


def test_broken_files_are_named(served, about, tmp_path):
    served.files["data/test-00000-of-00002.parquet"] = b"PAR1 not parquet"
    fetch(about, tmp_path)
    with pytest.raises(VpauditError, match="not Parquet"):
        data.load("tiny", "test")
