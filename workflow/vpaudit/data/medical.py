"""DICOM, NIfTI and HEIC, whose readers are optional: pip install 'vpaudit[medical]'."""

import gzip
import importlib
import io
from collections.abc import Callable, Iterator
from types import ModuleType

import numpy as np
from PIL import Image

from vpaudit.data.limits import MAX_BYTES, MAX_PIXELS, Unusable

NIFTI = (".nii", ".nii.gz")
SPREAD = (0.5, 99.5)  # percentiles of a volume shown as black and white where its header names no range


def needed(package: str, kind: str) -> ModuleType:
    """The package that reads a kind of file.

    Raises:
        Unusable: it is not installed; how to install it.
    """
    try:
        return importlib.import_module(package)
    except ImportError:
        raise Unusable(f"{kind} is not read here: pip install 'vpaudit[medical]'") from None


def is_dicom(content: bytes) -> bool:
    """By the mark behind the preamble."""
    return content[128:132] == b"DICM"


def dicom(content: bytes) -> tuple[Image.Image, list[str]]:
    """The first frame as its (first) window shows it, in mode L or RGB, and what was done to it.

    Raises:
        Unusable: pydicom is not installed; no pixels, too many, or a compression that needs another package.
    """
    pydicom, apply = needed("pydicom", "DICOM"), needed("pydicom.pixels", "DICOM")
    about = pydicom.dcmread(io.BytesIO(content))
    if "Rows" not in about or "Columns" not in about:
        raise Unusable("DICOM without pixels")
    if int(about.Rows) * int(about.Columns) > MAX_PIXELS:
        raise Unusable(f"too large: {about.Columns}×{about.Rows}, not decoded")
    pixels, notes = apply.pixel_array(about, index=0), []
    if int(about.get("NumberOfFrames", 1) or 1) > 1:
        notes.append("several frames, the first taken")
    if pixels.ndim == 3:
        return Image.fromarray(_spread(pixels, 0, 2 ** int(about.BitsStored) - 1)), notes
    values = apply.apply_modality_lut(pixels, about).astype(np.float64)
    low, high, shown = values.min(), values.max(), "without a window, from its least to its largest value"
    if "WindowWidth" in about and "WindowCenter" in about:
        centre, width = (float(np.atleast_1d(about[key].value)[0]) for key in ("WindowCenter", "WindowWidth"))
        low, high, shown = centre - width / 2, centre + width / 2 - 1, "as its window shows it"  # PS3.3 C.11.2.1.2.1
    notes.append(f"DICOM, {shown}")
    grey = _spread(values, low, high)
    return Image.fromarray(255 - grey if about.PhotometricInterpretation == "MONOCHROME1" else grey), notes


def _spread(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.round((values - low).clip(0, max(high - low, 1e-12)) * (255 / max(high - low, 1e-12))).astype(np.uint8)


def nifti(name: str, content: Callable[[], bytes]) -> Iterator[tuple[str, Callable[[], Image.Image]]]:
    """(name of a slice, how to get it) of a volume: the axial slices, feet first; of a series the first volume.

    Raises:
        Unusable: nibabel is not installed; damaged, in colour, or no volume.
    """
    nibabel = needed("nibabel", "NIfTI")
    try:
        packed = content()
        plain = gzip.GzipFile(fileobj=io.BytesIO(packed)).read(MAX_BYTES + 1) if packed[:2] == b"\x1f\x8b" else packed
        if len(plain) > MAX_BYTES:
            raise Unusable(f"too large: more than {MAX_BYTES // 2**20} MiB")
        kind = nibabel.Nifti2Image if plain[:4] in (b"\x1c\x02\0\0", b"\0\0\x02\x1c") else nibabel.Nifti1Image
        image = nibabel.as_closest_canonical(kind.from_bytes(plain))
        volume = np.asarray(image.dataobj, dtype=np.float32)
    except Unusable:
        raise
    except Exception as error:  # a damaged file makes readers trip over anything
        raise Unusable(f"damaged or truncated: {error}") from error
    volume = volume.reshape(*volume.shape[:3], -1)[..., 0] if volume.ndim >= 3 else volume[..., None]
    low, high = float(image.header["cal_min"]), float(image.header["cal_max"])
    if not high > low:
        low, high = np.percentile(volume[np.isfinite(volume)], SPREAD) if np.isfinite(volume).any() else (0.0, 1.0)
    for place in range(volume.shape[2]):
        yield f"{name}:{place:03d}", lambda k=place: _upright(np.nan_to_num(volume[:, :, k]), low, high)


def _upright(values: np.ndarray, low: float, high: float) -> Image.Image:
    """A slice whose first axis goes to the patient's right and second to the front, seen with the front on top."""
    return Image.fromarray(np.rot90(_spread(values, low, high)))


def open_heif() -> None:
    """Let Pillow open HEIC."""
    needed("pillow_heif", "HEIC").register_heif_opener()
