"""Data sets of the Hugging Face hub: Parquet files of encoded images, of which only those asked for are decoded."""

import bisect
import itertools
import json
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet

from vpaudit.base import files
from vpaudit.base.errors import VpauditError
from vpaudit.data import huggingface
from vpaudit.data.decode import Unusable, decode

MARK = "fetched.json"  # written last: repository, commit, licence and sha256 of every file


def fetch(name: str, about: dict, folder: Path, lock: Path, pauses=huggingface.PAUSES) -> Path:
    """Bring a data set's Parquet files into folder/name, whole and recorded; kept if they are there.

    Raises:
        VpauditError: see `hub.download`; or bytes other than those of the lock.
    """
    folder = Path(folder) / name
    if (folder / MARK).exists():
        return folder
    source, content = about["hub"], folder / "files"
    patterns = list(source["splits"].values())
    commit = huggingface.download(
        source["repo"], huggingface.pinned(lock, name, source), patterns, content, "dataset", pauses
    )
    found = sorted({path for pattern in patterns for path in huggingface.matching(content, pattern)})
    digests = {path.relative_to(content).as_posix(): files.sha256(path) for path in found}
    huggingface.record(lock, name, source["repo"], commit, digests)
    files.write_json(
        folder / MARK,
        {"repo": source["repo"], "commit": commit, "licence": about["licence"], "sha256": digests},
    )
    return folder


def _pixels(content: bytes, size: int, place: str) -> np.ndarray:
    try:
        return decode(content, size=size, colour=True).pixels
    except Unusable as error:
        raise VpauditError(f"{place} is not usable: {error}", "fetch the data set again") from error


class Split:
    """A split's rows, read where they are asked for.

    Args:
        name, split, about: of the data set's card; folder: resources/data/full.

    Attributes:
        class_names: of the labels, as the files' own metadata or the card tell them.
    """

    def __init__(self, name: str, about: dict, split: str, folder: Path):
        content, wanted = folder / name / "files", about["hub"]["splits"].get(split) or about["hub"]["splits"]["all"]
        if not (folder / name / MARK).exists():
            raise VpauditError(f"{name} is not in {folder}", f"run `vpaudit fetch {name}` ({about['licence']})")
        self.paths = huggingface.matching(content, wanted)
        if not self.paths:
            raise VpauditError(f"{content} holds no {wanted}", f"delete {folder / name} and run `vpaudit fetch {name}`")
        self.size = about["shape"][1]
        try:
            self.tables = [pyarrow.parquet.ParquetFile(path) for path in self.paths]
        except (pyarrow.ArrowException, OSError) as error:
            raise VpauditError(f"{content}: a file is not Parquet: {error}", f"run `vpaudit fetch {name}`") from error
        self.ends = list(itertools.accumulate(table.metadata.num_rows for table in self.tables))
        self.image, self.label = self._columns()
        self.class_names = tuple(about.get("class_names") or self._names() or ("image",))

    def __len__(self) -> int:
        return self.ends[-1]

    def take(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Images uint8 (n, H, W, 3), centred square at the card's size, and labels int64 (n,), -1 where none."""
        images, labels = {}, {}
        for number, (table, path) in enumerate(zip(self.tables, self.paths)):
            first = self.ends[number] - table.metadata.num_rows
            mine = [row for row in rows.tolist() if bisect.bisect_right(self.ends, row) == number]
            self._read(table, path, first, mine, images, labels)
        order = rows.tolist()
        return np.stack([images[row] for row in order]), np.array([labels[row] for row in order], dtype=np.int64)

    def _read(self, table, path, first: int, wanted: list[int], images: dict, labels: dict) -> None:
        """Only the row groups that hold a wanted row."""
        start, names = first, [name for name in (self.image, self.label) if name]
        for group in range(table.num_row_groups):
            stop = start + table.metadata.row_group(group).num_rows
            inside = [row for row in wanted if start <= row < stop]
            if inside:
                part = table.read_row_group(group, columns=names)
                for row in inside:
                    content = part[self.image][row - start].as_py()["bytes"]
                    place = f"{path}, row {row - first}"
                    images[row] = _pixels(content, self.size, place)
                    labels[row] = part[self.label][row - start].as_py() if self.label else -1
            start = stop

    def _columns(self) -> tuple[str, str | None]:
        """The column of encoded images, and that of whole-number labels if there is one."""
        schema = self.tables[0].schema_arrow
        image = [field.name for field in schema if pyarrow.types.is_struct(field.type)]
        if not image:
            raise VpauditError(f"{self.paths[0]} has no column of images", f"its columns: {', '.join(schema.names)}")
        label = [field.name for field in schema if field.name == "label" and pyarrow.types.is_integer(field.type)]
        return image[0], label[0] if label else None

    def _names(self) -> list[str]:
        """Class names out of the metadata that the `datasets` library leaves in its files."""
        text = (self.tables[0].schema_arrow.metadata or {}).get(b"huggingface")
        if not text or not self.label:
            return []
        return json.loads(text).get("info", {}).get("features", {}).get(self.label, {}).get("names", [])
