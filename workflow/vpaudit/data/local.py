"""Images from disk: a folder, a zip or tar archive, or an npz array; any format Pillow reads at 8 bits."""

import io as memory
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from vpaudit.data import cifar
from vpaudit.data.read import ImageSet
from vpaudit.errors import VpauditError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")


Choose = Callable[[int], np.ndarray]  # how many there are -> places of those wanted


def load_local(
    source: str | Path, size: int | None = None, grey: bool = False, under: str = "", choose: Choose | None = None
) -> ImageSet:
    """Every image of a source, in the order of their names; ids are places in that order.

    Args:
        source: a folder (searched through), .zip, .tar, .tar.gz, .tgz, or .npz (uint8 `x` or `images`, labels `y` or
            `labels` if there); or CIFAR-10's own cifar-10-python.tar.gz, whose test images are taken, or with
            under="train" the training images.
        size: side to bring images to: the largest centred square, resized by Lanczos; None leaves them, and then all
            must have one size.
        grey: bring to one channel (ITU-R 601 luma).
        under: take only what lies under this folder of the source, e.g. "test".
        choose: which of them are wanted, told how many there are; only these are decoded. None: all.

    Returns:
        labels are those of the npz, or the places of the images' own folders where these differ, else -1.

    Raises:
        VpauditError: no source, no images, an image that cannot be read, or (without size) of another size; named.
    """
    source = Path(source)
    if not source.exists():
        raise VpauditError(f"{source} does not exist", "name a folder, a zip or tar archive, or an npz file of images")
    if source.suffix == ".npz":
        return _chosen(_npz(source, size, grey), choose)
    if cifar.is_archive(source):
        return _chosen(cifar.load(source, under or "test"), choose)
    entries = sorted(_entries(source, under), key=lambda entry: entry[0])
    if not entries:
        place = f"{source}, under {under!r}" if under else f"{source}"
        raise VpauditError(f"no images in {place}", f"known formats: {', '.join(SUFFIXES)}")
    labels, names = _classes([PurePosixPath(name).parent.name for name, _ in entries])
    places = np.arange(len(entries)) if choose is None else choose(len(entries))
    entries = [entries[place] for place in places]
    arrays = [decode(f"{source}/{name}", read, size, grey) for name, read in entries]
    for (name, _), array in zip(entries, arrays):
        if array.shape != arrays[0].shape:
            raise VpauditError(
                f"{source}/{name} has shape {array.shape}, {entries[0][0]} has {arrays[0].shape}",
                "set data.size (and data.grey) to bring them to one, or resize them",
            )
    return ImageSet(_title(source), "test", np.stack(arrays), labels[places], places, names)


def _chosen(images: ImageSet, choose: Choose | None) -> ImageSet:
    return images if choose is None else images[choose(len(images))]


def _title(source: Path) -> str:
    return source.name.split(".")[0]


def _entries(source: Path, under: str) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """(name inside, how to read it) of every image file."""

    def wanted(name: str) -> bool:
        path = PurePosixPath(name)
        inside = not under or under.strip("/") in [str(p) for p in path.parents]
        return inside and path.suffix.lower() in SUFFIXES and not path.name.startswith("._")

    try:
        if source.is_dir():
            for path in source.rglob("*"):
                name = path.relative_to(source).as_posix()
                if wanted(name) and path.is_file():
                    yield name, path.read_bytes
        elif source.suffix == ".zip":
            archive = zipfile.ZipFile(source)
            for name in filter(wanted, archive.namelist()):
                yield name, lambda name=name: archive.read(name)
        elif ".tar" in source.suffixes or source.suffix == ".tgz":
            archive = tarfile.open(source)  # noqa: SIM115
            for member in archive.getmembers():
                if member.isfile() and wanted(member.name):
                    yield member.name, lambda member=member: archive.extractfile(member).read()
        else:
            raise VpauditError(f"{source} is not a folder, zip, tar or npz", "unpack it, or give its folder")
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise VpauditError(f"{source} cannot be read: {error}", "it may be truncated; fetch it again") from error


def decode(name: str, read: Callable[[], bytes], size: int | None, grey: bool) -> np.ndarray:
    """uint8 (H, W, 3), or (H, W) for grey, of an encoded image, cropped and resized as `load_local` says.

    Raises:
        VpauditError: it cannot be read, or has more than 8 bits a channel; `name` is in the message.
    """
    try:
        with Image.open(memory.BytesIO(read())) as image:
            if image.mode.startswith(("I", "F")):  # Pillow would saturate them to white
                raise ValueError(f"it has more than 8 bits a channel (mode {image.mode})")
            image.load()
            return np.array(_fit(image.convert("L" if grey or image.mode in ("1", "L") else "RGB"), size))
    except (OSError, SyntaxError, ValueError, zipfile.BadZipFile, Image.DecompressionBombError) as error:
        raise VpauditError(f"{name} is not a readable image: {error}", "remove or replace it") from error


def _fit(image: Image.Image, size: int | None) -> Image.Image:
    """The largest centred square, resized by Lanczos."""
    if size is None or image.size == (size, size):
        return image
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.LANCZOS)


def _classes(folders: list[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    names = sorted(set(folders))
    if len(names) < 2:
        return np.full(len(folders), -1), ("image",)
    return np.array([names.index(folder) for folder in folders]), tuple(names)


def _npz(source: Path, size: int | None, grey: bool) -> ImageSet:
    try:
        with np.load(source, allow_pickle=False) as file:
            images = next((file[key] for key in ("x", "images", "x_test") if key in file), None)
            labels = next((file[key] for key in ("y", "labels", "y_test") if key in file), None)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise VpauditError(f"{source} cannot be read: {error}", "it may be truncated; fetch it again") from error
    if images is None or images.dtype != np.uint8 or images.ndim not in (3, 4):
        found = "no array x or images" if images is None else f"{images.dtype} of shape {images.shape}"
        raise VpauditError(f"{source} holds {found}", "store uint8 images (N, H, W) or (N, H, W, 3) as x")
    if size is not None or grey:
        modes = [Image.fromarray(image).convert("L" if grey or images.ndim == 3 else "RGB") for image in images]
        images = np.stack([np.array(_fit(image, size)) for image in modes])
    labels = np.full(len(images), -1) if labels is None else labels.astype(np.int64)
    names = tuple(str(k) for k in range(int(labels.max()) + 1)) or ("image",)
    return ImageSet(_title(source), "test", images, labels, np.arange(len(images)), names)
