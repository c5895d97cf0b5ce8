"""Images from disk: a folder, a zip or tar archive, or an npz array, of any format that `decode` knows.

`load_local` is for data sets with a card: the first image that is not as it should be stops it. `read_local` is for
people's own images: what cannot be used is left out and listed, the rest is audited.
"""

import hashlib
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image
from tqdm import tqdm

from vpaudit.base.errors import VpauditError
from vpaudit.data import cifar, strips
from vpaudit.data.decode import MAX_BYTES, MIN_SIDE, SUFFIXES, Picture, Unusable, decode, fit, looks_like_an_image
from vpaudit.data.images import ImageSet

MOST = 2000  # files that `read_local` looks at; of more, a random choice


@dataclass(frozen=True)
class Reading:
    """What was found in a source.

    Attributes:
        images: the usable ones, each once; ids are places among all files, in the order of their names; names: theirs.
        skipped: (name, reason) of those left out, duplicates among them; notes: what was done to others, with names;
        files: how many image files there are; looked_at: how many of them were opened.
    """

    images: ImageSet
    names: list[str]
    skipped: list[tuple[str, str]]
    notes: dict[str, list[str]]
    files: int
    looked_at: int

    def lines(self) -> list[str]:
        """The counts, without names."""
        part = f", a random {self.looked_at} looked at" if self.looked_at < self.files else ""
        found = [f"{self.files} image files{part}", f"{len(self.images)} usable"]
        reasons = Counter(reason.split(":")[0] for _, reason in self.skipped)
        found += [f"{count} left out: {reason}" for reason, count in sorted(reasons.items())]
        return found + [f"{len(names)} {note}" for note, names in sorted(self.notes.items())]


@dataclass(frozen=True)
class _File:
    """An image of a source: its name inside, how to get its picture, and its label where the source has labels."""

    name: str
    picture: Callable[[], Picture]
    label: int | None = None


@dataclass
class _Kept:
    pictures: list[np.ndarray] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    files: list[_File] = field(default_factory=list)

    def add(self, place: int, file: _File, pixels: np.ndarray) -> None:
        self.pictures.append(pixels)
        self.places.append(place)
        self.files.append(file)


def load_local(
    source: str | Path, size: int | None = None, grey: bool = False, under: str = "", colour: bool = False
) -> ImageSet:
    """Every image of a source, in the order of their names; ids are places in that order.

    Args:
        source: a folder (searched through), .zip, .tar, .tar.gz, .tgz, or .npz (uint8 `x` or `images`, labels `y` or
            `labels` if there); or CIFAR-10's own cifar-10-python.tar.gz, whose test images are taken, or with
            under="train" the training images.
        size, grey, colour: see `decode.fit`; without size all must have one.
        under: take only what lies under this folder of the source, e.g. "test".

    Returns:
        labels are those of the npz, or the places of the images' own folders where these differ, else -1.

    Raises:
        VpauditError: no source, no images, an image that cannot be read, or (without size) of another size; named.
    """
    kept = _Kept()
    for place, file in enumerate(_files(Path(source), size, grey, colour, under)):
        try:
            kept.add(place, file, file.picture().pixels)
        except Unusable as error:
            raise VpauditError(f"{source}/{file.name} is not usable: {error}", "remove or replace it") from error
    return _image_set(Path(source), kept)


def read_local(
    source: str | Path,
    size: int | None = None,
    grey: bool = False,
    under: str = "",
    colour: bool = False,
    seed: int = 0,
    most: int = MOST,
) -> Reading:
    """The usable images of a source, each once, and a list of what was left out.

    Args:
        source, size, grey, under, colour: as for `load_local`.
        most: of more files than this a random choice, keyed by the seed, is looked at.

    Raises:
        VpauditError: no source, no image files, none that is usable, or (without size) several sizes.
    """
    files = _files(Path(source), size, grey, colour, under)
    chosen = np.sort(np.random.default_rng(seed).permutation(len(files))[:most])
    kept, skipped, notes, seen = _Kept(), [], {}, {}
    for place in tqdm(chosen.tolist(), desc="images", disable=None, ascii=True, ncols=79):
        file = files[place]
        try:
            picture = file.picture()
            first = seen.setdefault(_digest(picture.pixels), file.name)
            if first != file.name:
                raise Unusable(f"duplicate: the same pixels as {first}")
            if np.ptp(picture.pixels) == 0:
                raise Unusable("blank: every pixel alike, nothing to reconstruct")
        except Unusable as error:
            skipped.append((file.name, str(error)))
            continue
        kept.add(place, file, picture.pixels)
        for note in picture.notes:
            notes.setdefault(note, []).append(file.name)
    if not kept.pictures:
        shown = "; ".join(f"{name}: {reason}" for name, reason in skipped[:3])
        raise VpauditError(f"no usable image in {source}: {shown}", "fix these, or name another folder")
    names = [file.name for file in kept.files]
    return Reading(_image_set(Path(source), kept), names, skipped, notes, len(files), len(chosen))


def _digest(pixels: np.ndarray) -> bytes:
    return hashlib.sha256(str(pixels.shape).encode() + pixels.tobytes()).digest()


def _image_set(source: Path, kept: _Kept) -> ImageSet:
    for file, pixels in zip(kept.files, kept.pictures):
        if pixels.shape != kept.pictures[0].shape:
            raise VpauditError(
                f"{source}/{file.name} has shape {pixels.shape}, {kept.files[0].name} has {kept.pictures[0].shape}",
                "set data.size (and data.grey, or data.colour) to bring them to one, or resize them",
            )
    if kept.files[0].label is None:
        labels, names = _classes([PurePosixPath(file.name).parent.name for file in kept.files])
    else:
        labels = np.array([file.label for file in kept.files], np.int64)
        names = tuple(str(k) for k in range(int(labels.max()) + 1)) or ("image",)
    return ImageSet(source.name.split(".")[0], "test", np.stack(kept.pictures), labels, np.array(kept.places), names)


def _files(source: Path, size: int | None, grey: bool, colour: bool, under: str) -> list[_File]:
    """The image files of a source by name, none of them opened yet."""
    if not source.exists():
        raise VpauditError(f"{source} does not exist", "name a folder, a zip or tar archive, or an npz file of images")
    if source.suffix == ".npz":
        return _npz(source, under, size, grey, colour)
    if cifar.is_archive(source) or strips.is_archive(source):
        found = strips.load(source) if strips.is_archive(source) else cifar.load(source, under or "test")
        return _arrays(found.images, found.labels, size, grey, colour)

    def picture(name, read):
        return lambda: decode(_content(read), PurePosixPath(name).suffix.lower(), size, grey, colour)

    entries = sorted(_entries(source, under), key=lambda entry: entry[0])
    if not entries:
        place = f"{source}, under {under!r}" if under else f"{source}"
        raise VpauditError(f"no images in {place}", f"known formats: {', '.join(SUFFIXES)}")
    return [_File(name, picture(name, read)) for name, read in entries]


def _content(read: Callable[[int], bytes]) -> bytes:
    """A file's bytes; one larger than MAX_BYTES, or that cannot be read, is unusable."""
    try:
        content = read(MAX_BYTES + 1)
    except Exception as error:  # a damaged or encrypted archive, a file without permission
        raise Unusable(f"unreadable: {getattr(error, 'strerror', None) or error}") from error
    if len(content) > MAX_BYTES:
        raise Unusable(f"too large: more than {MAX_BYTES // 2**20} MiB")
    return content


def _entries(source: Path, under: str) -> Iterator[tuple[str, Callable[[int], bytes]]]:
    """(name inside, how to read its first so many bytes) of every file that is named as an image, or is one."""

    def wanted(name: str, read: Callable[[int], bytes]) -> bool:
        path = PurePosixPath(name)
        if path.name.startswith("._") or (under and under.strip("/") not in [str(p) for p in path.parents]):
            return False
        return path.suffix.lower() in SUFFIXES or _sniff(read)

    for name, read in _everything(source):
        if wanted(name, read):
            yield name, read


def _sniff(read: Callable[[int], bytes]) -> bool:
    try:
        return looks_like_an_image(read(12))
    except Exception:  # not named as an image, and not readable either: nobody's image
        return False


def _everything(source: Path) -> Iterator[tuple[str, Callable[[int], bytes]]]:
    """Every file of a folder or archive."""

    def part(open_, *arguments):
        def read(count: int) -> bytes:
            with open_(*arguments) as file:
                return file.read(count)

        return read

    try:
        if source.is_dir():
            for path in source.rglob("*"):
                if path.is_file():
                    yield path.relative_to(source).as_posix(), part(open, path, "rb")
        elif source.suffix == ".zip":
            archive = zipfile.ZipFile(source)
            for entry in archive.infolist():
                if not entry.is_dir():
                    yield entry.filename, part(archive.open, entry)
        elif ".tar" in source.suffixes or source.suffix == ".tgz":
            archive = tarfile.open(source)  # noqa: SIM115
            for member in archive.getmembers():
                if member.isfile():
                    yield member.name, part(archive.extractfile, member)
        else:
            raise VpauditError(f"{source} is not a folder, zip, tar or npz", "unpack it, or give its folder")
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise VpauditError(f"{source} cannot be read: {error}", "it may be truncated; fetch it again") from error


def _classes(folders: list[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    names = sorted(set(folders))
    if len(names) < 2:
        return np.full(len(folders), -1), ("image",)
    return np.array([names.index(folder) for folder in folders]), tuple(names)


def _npz(source: Path, under: str, size: int | None, grey: bool, colour: bool) -> list[_File]:
    try:
        with np.load(source, allow_pickle=False) as file:
            keys = [(f"x_{under}", f"y_{under}")] if under else [("x", "y"), ("images", "labels"), ("x_test", "y_test")]
            images, labels = (next((file[key] for key in part if key in file), None) for part in zip(*keys))
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise VpauditError(f"{source} cannot be read: {error}", "it may be truncated; fetch it again") from error
    good = images is not None and images.dtype == np.uint8 and (images.ndim == 3 or images.shape[3:] == (3,))
    if not good or not len(images) or min(images.shape[1:3]) < MIN_SIDE:
        found = "no array x or images" if images is None else f"{images.dtype} of shape {images.shape}"
        raise VpauditError(f"{source} holds {found}", "store uint8 images (N, H, W) or (N, H, W, 3) as x")
    tags = np.full(len(images), -1) if labels is None else labels.astype(np.int64)
    return _arrays(images, tags, size, grey, colour)


def _arrays(images: np.ndarray, tags: np.ndarray, size: int | None, grey: bool, colour: bool) -> list[_File]:
    def picture(image):
        return lambda: Picture(fit(Image.fromarray(image), size, grey, colour))

    return [_File(f"{k:06d}", picture(image), int(tag)) for k, (image, tag) in enumerate(zip(images, tags))]
