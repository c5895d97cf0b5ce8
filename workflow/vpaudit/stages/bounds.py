"""What theory allows, as tables. Torch is never imported here."""

import numpy as np
import pandas as pd

from vpaudit.base import pixels
from vpaudit.base.files import write_table
from vpaudit.study.config import Config
from vpaudit.study.layout import Layout


def bounds(config: Config, layout: Layout) -> None:
    """targets.npz, unrelated baseline -> bounds.parquet."""
    from vpaudit.privacy import bound_table as law

    with np.load(layout.targets) as file:
        flat = file["images"].reshape(len(file["images"]), -1)
    norms, variances = np.empty(len(flat)), np.empty(len(flat))
    for start in range(0, len(flat), 256):  # 256 x 256 images are too many for doubles at once
        block = pixels.signed(flat[start : start + 256])
        norms[start : start + 256], variances[start : start + 256] = np.linalg.norm(block, axis=1), block.var(axis=1)
    unrelated = pd.read_parquet(layout.part("baselines", "unrelated"))
    table = law.table(norms, variances, flat.shape[1], unrelated, config.mechanism, config.bounds)
    write_table(layout.table("bounds"), table.assign(dataset=config.dataset))


def theory(config: Config, layout: Layout) -> None:
    """measurements of the prior, targets.npz -> theory.parquet."""
    from safetensors.numpy import load_file

    from vpaudit.privacy import prior_aware

    with np.load(layout.targets) as file:
        flat = pixels.signed(file["images"])
        norms = pd.Series(np.linalg.norm(flat.reshape(len(flat), -1), axis=1), index=file["ids"])
    measured = [pd.read_parquet(layout.experiment(name)) for name in ("curves", "scores", "ball")]
    variances = load_file(layout.gaussian / "gaussian.safetensors")["variances"]
    rule = config.mechanism
    table = prior_aware.table(*measured, norms, variances, rule.mu, rule.max_grad_norm)
    write_table(layout.table("theory"), table.assign(dataset=config.dataset))
