"""The audited images as the page shows them: one sheet an image, a row an output, a column a mu.

Grey and colour values are those of the arrays, clipped to [-1, 1] and never stretched; the map of disagreement has one
scale for all images, noise levels and studies.
"""

import base64
import io as memory
from dataclasses import dataclass

import matplotlib
import numpy as np
from PIL import Image

from vpaudit.base import pixels
from vpaudit.base.labels import LABELS
from vpaudit.report.results import Results

SHOWN = 20  # images in the page, at most
FEW = 6  # with room for fewer as PNG than these, sheets are compressed with loss
BUDGET = 9e6  # bytes of all images in the page
SPREAD = 1.0  # std between samples at the end of the map's scale; pixels are in [-1, 1]
GAP = 128  # grey between tiles
ORDER = ("gaussian.wiener", "unconditional.posterior_mean", "true_class.posterior_mean", "wrong_class.posterior_mean",
         "unconditional.ddim")  # fmt: skip


@dataclass(frozen=True)
class Output:
    """One row of a sheet: a sample of an attack, or (attack None) what is released."""

    prior: str
    attack: str | None
    draw: int
    label: str
    several: bool = False

    @property
    def key(self) -> str:
        return f"{self.prior}.{self.attack}"


@dataclass(frozen=True)
class Sprites:
    """Images of a page as data URIs, in the order of `places`; `maps` is empty where there is one sample an image."""

    places: list[int]
    targets: list[str]
    sheets: list[str]
    maps: list[str]
    width: int
    height: int
    gap: int
    lossless: bool


def rows(study: Results) -> list[Output]:
    """What is released, then every attack and sample in the study's arrays; `raw` is the former and is not repeated."""
    with study.arrays("reconstructions", study.mu[0]) as file:
        draws = {name: len(file[name]) for name in file.files if not name.endswith(".raw")}
    found = [Output("none", "raw", 0, "released")]
    for name in sorted(draws, key=lambda n: (draws[n], ORDER.index(n) if n in ORDER else len(ORDER), n)):
        prior, attack = name.split(".")
        label = LABELS.get(attack, attack)
        if prior not in ("none", "gaussian", "unconditional"):
            label = f"{label}, {LABELS[prior]}"
        several = draws[name] > 1
        found += [
            Output(prior, attack, k, f"{label} {k + 1}" if several else label, several) for k in range(draws[name])
        ]
    return found


def pick(labels: np.ndarray, count: int = SHOWN) -> list[int]:
    """Places of the images shown: the first of each class, then the second, never by outcome."""
    rank = [int((labels[:i] == label).sum()) for i, label in enumerate(labels)]
    order = sorted(range(len(labels)), key=lambda i: (rank[i], int(labels[i]), i))
    return order[: min(count, len(labels))]


def build(study: Results, outputs: list[Output]) -> Sprites:
    """As many images as the budget holds, as PNG; where that is fewer than `FEW`, compressed with loss (WebP)."""
    with study.arrays("targets") as file:
        images, places = file["images"], pick(file["labels"][: study.in_arrays()])
    targets = [uri(picture(images[place]), True) for place in places]
    grids, spreads = _grids(study, outputs, places)
    maps = [uri(_map(spread), True) for spread in spreads]
    fixed = 2 * max(len(t) for t in targets) + max((len(m) for m in maps), default=0)  # targets are in the page twice
    lossless = True
    sheets = [uri(picture(grids[0]), True)]
    count = int(BUDGET // (len(sheets[0]) + fixed))
    if count < min(FEW, len(places)):
        lossless = False
        count = max(1, int(BUDGET // (len(uri(picture(grids[0]), False)) + fixed)))
    count = min(count, len(places))
    sheets = [uri(picture(grid), lossless) for grid in grids[:count]]
    height, width = images.shape[1:3]
    return Sprites(places[:count], targets[:count], sheets, maps[:count], width, height, _gap(height), lossless)


def _grids(study: Results, outputs: list[Output], places: list[int]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """For each place its tiles side by side, uint8 (H', W', C), and the std between samples, (H, W'), NaN in gaps."""
    columns, spreads = [], []
    for mu in study.mu:
        with study.arrays("observations", mu) as seen, study.arrays("reconstructions", mu) as made:
            arrays = {key: pixels.unpacked(made[key][:, places]) for key in {o.key for o in outputs[1:]}}
            released = seen["y"][places] / pixels.per_image(seen["lam"][places])
            tiles = [released, *(arrays[o.key][o.draw] for o in outputs[1:])]
        columns.append([pixels.packed(tile, "uint8").transpose(0, 2, 3, 1) for tile in tiles])
        several = next((o.key for o in outputs if o.several), None)
        if several:  # over colours the root mean square
            spreads.append(np.sqrt(arrays[several].astype(np.float64).var(axis=0, ddof=1).mean(axis=1)))
    gap = _gap(columns[0][0].shape[1])
    grids = [joined([joined([t[i] for t in tiles], 0, gap, GAP) for tiles in columns], 1, gap, GAP)
             for i in range(len(places))]  # fmt: skip
    maps = [joined([s[i] for s in spreads], 1, gap, np.nan) for i in range(len(places))] if spreads else []
    return grids, maps


def _gap(height: int) -> int:
    return max(1, height // 28)


def joined(tiles: list[np.ndarray], axis: int, gap: int, fill: float) -> np.ndarray:
    shape = list(tiles[0].shape)
    shape[axis] = gap
    line = np.full(shape, fill, tiles[0].dtype)
    parts = [part for tile in tiles for part in (line, tile)][1:]
    return np.concatenate(parts, axis)


def picture(array: np.ndarray) -> Image.Image:
    return Image.fromarray(array.squeeze(-1) if array.shape[-1] == 1 else array)


def _map(spread: np.ndarray) -> Image.Image:
    """Std between samples in the colours of `scale`, 0 to SPREAD; gaps in the grey of the sheets."""
    index = np.round(np.clip(np.nan_to_num(spread) / SPREAD, 0, 1) * 254).astype(np.uint8)
    index[np.isnan(spread)] = 255
    image = Image.fromarray(index, "P")
    image.putpalette(bytes([*scale(255).flatten().tolist(), GAP, GAP, GAP]))
    return image


def scale(count: int) -> np.ndarray:
    """uint8 (count, 3): the map's colours from agreement to disagreement, perceptually even and safe for the
    colour-blind."""
    return np.round(matplotlib.colormaps["cividis"](np.linspace(0, 1, count))[:, :3] * 255).astype(np.uint8)


def uri(image: Image.Image, lossless: bool) -> str:
    buffer, kind = memory.BytesIO(), "png" if lossless else "webp"
    image.save(buffer, kind, **({"optimize": True} if lossless else {"quality": 85, "method": 4}))
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
