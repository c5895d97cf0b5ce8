"""What theory allows, as a table. Torch is never imported here."""

import numpy as np
import pandas as pd

from vpaudit.base import pixels
from vpaudit.base.files import write_table
from vpaudit.study.config import Config
from vpaudit.study.layout import Layout

IMAGES = 2000  # from which the floor is computed; fewer where all their values together are more than VALUES
VALUES, FEWEST = 2**27, 4


def bounds(config: Config, layout: Layout) -> None:
    """targets.npz, public.npz -> bounds.parquet."""
    from vpaudit.privacy import bound_table as law

    with np.load(layout.targets) as file:
        flat = file["images"].reshape(len(file["images"]), -1)
    norms, variances = np.empty(len(flat)), np.empty(len(flat))
    for start in range(0, len(flat), 256):  # 256 x 256 images are too many for doubles at once
        block = pixels.signed(flat[start : start + 256])
        norms[start : start + 256], variances[start : start + 256] = np.linalg.norm(block, axis=1), block.var(axis=1)
    table = law.table(norms, variances, flat.shape[1], config.mechanism, config.bounds)
    kin = of_the_kind(config, layout, flat)
    if len(kin) >= FEWEST:
        table = pd.concat([table, law.floors(kin, config.mechanism)], ignore_index=True)
    write_table(layout.table("bounds"), table.assign(dataset=config.dataset))


def of_the_kind(config: Config, layout: Layout, targets: np.ndarray) -> np.ndarray:
    """(n, N) in [-1, 1]: public images, which are none of the targets; the targets themselves where there are none."""
    images = targets
    if config.public_images:
        with np.load(layout.public) as file:
            images = file["images"]
    order = np.random.default_rng(0).permutation(len(images))  # they may come class by class
    flat = images.reshape(len(images), -1)
    return pixels.signed(flat[order[: min(IMAGES, VALUES // flat.shape[1])]])
