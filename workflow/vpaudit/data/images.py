"""A set of images with labels and ids: what every reader returns."""

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class ImageSet:
    """images uint8 (N, H, W) or (N, H, W, 3); labels, ids int64 (N,), ids being places in the official split."""

    name: str
    split: str
    images: np.ndarray
    labels: np.ndarray
    ids: np.ndarray
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, places) -> "ImageSet":
        cut = {name: getattr(self, name)[places] for name in ("images", "labels", "ids")}
        return replace(self, **cut)
