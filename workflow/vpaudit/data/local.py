"""Images from disk: a folder, a zip or tar archive, or an npz array, of any format that `decode` knows.

`load_local` is for data sets with a card: the first image that is not as it should be stops it. `read_local` is for
people's own images: what cannot be used is left out and listed, the rest is audited.
"""

import contextlib
import functools
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image
from tqdm import tqdm

from vpaudit.base.errors import VpauditError
from vpaudit.data import arrays, cifar, medical, sources, strips
from vpaudit.data.decode import (
    HEAD,
    SUFFIXES,
    UNREAD,
    Picture,
    decode,
    finish,
    looks_like_an_image,
    significant_bits,
)  # fmt: skip
from vpaudit.data.images import ImageSet
from vpaudit.data.limits import MAX_BYTES, Unusable

MOST = 2000  # files that `read_local` looks at; of more, a random choice
NAME = "local images"  # of every set read here: what is chosen of it does not depend on what its folder is called


@dataclass(frozen=True)
class Reading:
    """What was found in a source.

    Attributes:
        images: the usable ones, each once; ids are places among all files, in the order of their names; names: theirs.
        skipped: (name, reason) of images left out, duplicates among them; passed: of files that are no images, or of a
            kind that is not read; notes: what was done to others, with names; remarks: on all of them together;
        files: how many image files there are; looked_at: how many of them were opened.
    """

    images: ImageSet
    names: list[str]
    skipped: list[tuple[str, str]]
    notes: dict[str, list[str]]
    files: int
    looked_at: int
    passed: list[tuple[str, str]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def left_out(self) -> list[tuple[str, str]]:
        """(name, reason) of every file that is not attacked."""
        return [*self.skipped, *((name, f"passed over: {reason}") for name, reason in self.passed)]

    def lines(self) -> list[str]:
        """The counts, without names."""
        part = f", a random {self.looked_at} looked at" if self.looked_at < self.files else ""
        found = [f"{self.files} image files{part}", f"{len(self.images)} usable"]
        for what, pairs in (("left out", self.skipped), ("passed over", self.passed)):
            reasons = Counter(reason.split(":")[0] for _, reason in pairs)
            found += [f"{count} {what}: {reason}" for reason, count in sorted(reasons.items())]
        return [*found, *(f"{len(names)} {note}" for note, names in sorted(self.notes.items())), *self.remarks]


@dataclass(frozen=True)
class _File:
    """An image of a source: its name inside, and how to get its picture, given the bits in use of a channel's 16."""

    name: str
    picture: Callable[[int], Picture]


@dataclass(frozen=True)
class _Found:
    """The images of a source, none of them decoded; labels and class names where the source has them.

    passed: files that are not read; remarks: what was assumed of all; doubts: what would be wrong to leave unsaid.
    """

    files: list[_File]
    labels: np.ndarray | None = None
    class_names: tuple[str, ...] = ()
    passed: list[tuple[str, str]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)

    def image_set(self, source: str | Path, pictures: dict[int, Picture]) -> ImageSet:
        """Of the pictures by place, which must have one shape."""
        places = list(pictures)
        first = pictures[places[0]].pixels.shape
        for place, picture in pictures.items():
            if picture.pixels.shape != first:
                raise VpauditError(
                    f"{source}/{self.files[place].name} has shape {picture.pixels.shape}, "
                    f"{self.files[places[0]].name} has {first}",
                    "set data.size (and data.grey, or data.colour) to bring them to one, or resize them",
                )
        if self.labels is None:
            labels, names = _classes([PurePosixPath(self.files[place].name).parent.name for place in places])
        else:
            labels, names = self.labels[places], self.class_names
        stacked = np.stack([picture.pixels for picture in pictures.values()])
        return ImageSet(NAME, "test", stacked, labels, np.array(places), names)


def load_local(
    source: str | Path, size: int | None = None, grey: bool = False, under: str = "", colour: bool = False
) -> ImageSet:
    """Every image of a source, in the order of their names; ids are places in that order.

    Args:
        source: a folder (searched through, links followed), .zip, .tar, .tar.gz, .tgz, .tar.xz, or .npz (see `arrays`);
            a zip of `strips`; or CIFAR-10's own cifar-10-python.tar.gz, whose test images are taken, or with
            under="train" the training images.
        size, grey, colour: see `decode.fit`; without size all must have one.
        under: take only what lies under this folder of the source, e.g. "test".

    Returns:
        labels are those of the npz, or the places of the images' own folders where these differ, else -1.

    Raises:
        VpauditError: no source, no images, an image that cannot be read, labels that are not the images', or (without
            size) another size; named.
    """
    found = _find(source, size, grey, colour, under)
    if found.doubts:
        raise VpauditError(f"{source}: {found.doubts[0]}", "store one label an image, or none")

    def stop(file: _File, error: Unusable) -> None:
        raise VpauditError(f"{source}/{file.name} is not usable: {error}", "remove or replace it") from error

    return found.image_set(source, _pictures(found.files, range(len(found.files)), stop))


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
    found = _find(source, size, grey, colour, under)
    chosen = _some(len(found.files), seed, most)
    skipped: list[tuple[str, str]] = []
    bar = tqdm(chosen, desc="images", disable=None, ascii=True, ncols=79)
    pictures = _pictures(found.files, bar, lambda file, error: skipped.append((file.name, str(error))))
    for place, reason in _useless(pictures, found.files):
        skipped.append((found.files[place].name, reason))
        del pictures[place]
    if not pictures:
        shown = "; ".join(f"{name}: {reason}" for name, reason in [*skipped, *found.passed][:3])
        raise VpauditError(f"no usable image in {source}: {shown}", "fix these, or name another folder")
    notes: dict[str, list[str]] = {}
    for place, picture in pictures.items():
        for note in picture.notes:
            notes.setdefault(note, []).append(found.files[place].name)
    names = [found.files[place].name for place in pictures]
    remarks = [*found.remarks, *found.doubts, *_outside(pictures)]
    return Reading(
        found.image_set(source, pictures), names, sorted(skipped), notes, len(found.files), len(chosen), found.passed,
        remarks,
    )  # fmt: skip


def usual_side(source: str | Path, seed: int = 0, most: int = 64) -> int:
    """The median over at most so many images of a source of their shorter side, in pixels; raises as `read_local`."""
    found = _find(source, None, False, False, "")
    sides = []
    for place in _some(len(found.files), seed, most):
        with contextlib.suppress(Unusable):  # one at a time: they are as large as they are
            sides.append(min(found.files[place].picture(16).pixels.shape[:2]))
    if not sides:
        raise VpauditError(f"no usable image in {source}", "name another folder")
    return int(np.median(sides))


def _some(total: int, seed: int, most: int) -> list[int]:
    """Places of at most so many files out of `total`, rising."""
    return np.sort(np.random.default_rng(seed).permutation(total)[:most]).tolist()


def _pictures(files: list[_File], places, unusable: Callable[[_File, Unusable], None]) -> dict[int, Picture]:
    """Pictures by place. Of 16 bits those that a source's images use at all are taken for the whole range: 12, say."""
    pictures: dict[int, Picture] = {}

    def decode_all(places, bits: int) -> None:
        for place in places:
            try:
                pictures[place] = files[place].picture(bits)
            except Unusable as error:
                pictures.pop(place, None)
                unusable(files[place], error)

    decode_all(places, 16)
    deep = [place for place, picture in pictures.items() if picture.peak]
    bits = significant_bits(max((pictures[place].peak for place in deep), default=2**16 - 1))
    if bits < 16:
        decode_all(deep, bits)
    return pictures


def _useless(pictures: dict[int, Picture], files: list[_File]) -> list[tuple[int, str]]:
    """Places of pictures that show what another shows, or nothing."""
    found, seen = [], {}
    for place, picture in pictures.items():
        first = seen.setdefault(_digest(picture.pixels), place)
        if first != place:
            found.append((place, f"duplicate: the same pixels as {files[first].name}"))
        elif np.ptp(picture.pixels) == 0:
            found.append((place, "blank: every pixel alike, nothing to reconstruct"))
    return found


def _outside(pictures: dict[int, Picture]) -> list[str]:
    shares = [100 * picture.outside for picture in pictures.values()]
    if max(shares) == 0:
        return []
    return [
        f"the centred squares leave out {np.mean(shares):.0f} % of an image on average, {max(shares):.3g} % at most"
    ]


def _digest(pixels: np.ndarray) -> bytes:
    return hashlib.sha256(str(pixels.shape).encode() + pixels.tobytes()).digest()


def _find(source: str | Path, size: int | None, grey: bool, colour: bool, under: str) -> _Found:
    """The image files of a source by name."""
    if not str(source).strip():
        raise VpauditError(
            "no source of images: the name is empty", "name a folder, a zip or tar archive, or an npz file"
        )
    source = Path(source)
    if not source.exists():
        raise VpauditError(f"{source} does not exist", "name a folder, a zip or tar archive, or an npz file of images")
    fitted = functools.partial(_fitted, size=size, grey=grey, colour=colour)
    if source.suffix.lower() == ".npz":
        read = arrays.read(source, under)
        return _Found(fitted(read.images), read.labels, read.class_names, [], read.notes, read.doubts)
    if cifar.is_archive(source) or strips.is_archive(source):
        known = strips.load(source) if strips.is_archive(source) else cifar.load(source, under or "test")
        return _Found(fitted(known.images), known.labels, known.class_names)
    listing = sources.listed(source)
    passed = [(name, reason) for name, reason in listing.passed if _inside(name, under)]
    files: list[_File] = []
    for entry in listing.entries:
        if _inside(entry.name, under):
            reason = _passed_over(entry)
            if reason:
                passed.append((entry.name, reason))
            else:
                files += _files(entry, size, grey, colour)
    if not files:
        place = f"{source}, under {under!r}" if under else f"{source}"
        shown = "".join(f"; {name}: {reason}" for name, reason in passed[:3])
        raise VpauditError(f"no images in {place}{shown}", f"known formats: {', '.join((*SUFFIXES, *medical.NIFTI))}")
    return _Found(files, passed=passed)


def _inside(name: str, under: str) -> bool:
    return not under or under.strip("/") in [str(p) for p in PurePosixPath(name).parents]


def _passed_over(entry: sources.Entry) -> str:
    """Why a file is not taken for an image; empty for one that is named as an image, or is one."""
    path = PurePosixPath(entry.name)
    suffix = path.suffix.lower()
    if suffix in UNREAD:
        return f"{UNREAD[suffix]} ({suffix}) is not read, convert it"
    named = suffix in SUFFIXES or path.name.lower().endswith(medical.NIFTI)
    if path.name.startswith("._") or not (named or _sniff(entry.read)):
        return f"not an image ({suffix or 'no suffix'})"
    return ""


def _sniff(read: Callable[[int], bytes]) -> bool:
    try:
        return looks_like_an_image(read(HEAD))
    except Exception:  # not named as an image, and not readable either: nobody's image
        return False


def _files(entry: sources.Entry, size: int | None, grey: bool, colour: bool) -> Iterator[_File]:
    """The images of a file: one, or a volume's slices."""

    def picture(bits: int) -> Picture:
        suffix = PurePosixPath(entry.name).suffix.lower()
        return decode(_content(entry.read), suffix, size, grey, colour, bits)

    def unusable(reason: str) -> Callable[[int], Picture]:
        def raised(bits: int) -> Picture:
            raise Unusable(reason)

        return raised

    if not entry.name.lower().endswith(medical.NIFTI):
        yield _File(entry.name, picture)
        return
    try:
        for name, slice_ in medical.nifti(entry.name, lambda: _content(entry.read)):
            yield _File(name, lambda bits, get=slice_: finish(get(), ["a slice of a NIfTI volume"], size, grey, colour))
    except Unusable as error:
        yield _File(entry.name, unusable(str(error)))


def _content(read: Callable[[int], bytes]) -> bytes:
    """A file's bytes; one larger than MAX_BYTES, or that cannot be read, is unusable."""
    try:
        content = read(MAX_BYTES + 1)
    except Exception as error:  # a damaged or encrypted archive, a file without permission
        raise Unusable(f"unreadable: {getattr(error, 'strerror', None) or error}") from error
    if len(content) > MAX_BYTES:
        raise Unusable(f"too large: more than {MAX_BYTES // 2**20} MiB")
    return content


def _classes(folders: list[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    names = sorted(set(folders))
    if len(names) < 2:
        return np.full(len(folders), -1), ("image",)
    return np.array([names.index(folder) for folder in folders]), tuple(names)


def _fitted(images: np.ndarray, size: int | None, grey: bool, colour: bool) -> list[_File]:
    """Files of an array's images, by their places."""

    def picture(bits: int, place: int) -> Picture:
        return finish(Image.fromarray(images[place]), [], size, grey, colour)

    return [_File(f"{k:06d}", functools.partial(picture, place=k)) for k in range(len(images))]
