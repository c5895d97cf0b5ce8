"""From targets.npz to observations."""

import numpy as np

from vpaudit.base import files
from vpaudit.privacy import mechanism
from vpaudit.privacy.mechanism import Mechanism
from vpaudit.stages.inputs import read_targets
from vpaudit.study import shards
from vpaudit.study.config import Config
from vpaudit.study.layout import Layout


def privatize(config: Config, layout: Layout, part: str) -> None:
    """targets.npz -> observations/mu=<part>.npz: what DP-SGD lets out."""
    wanted = shards.find(config, part)
    x, labels, ids = read_targets(layout, wanted.images)
    release = mechanism.RELEASES[config.mechanism.release]
    rule = Mechanism(float(wanted.mu), config.mechanism.max_grad_norm)
    seen = release(x, ids, labels, rule, config.dataset, config.seed)
    with files.atomic(layout.observation(part)) as temporary:
        np.savez(
            temporary,
            y=seen.y.numpy(),
            lam=seen.lam.numpy(),
            s=seen.s.numpy(),
            sigma=seen.sigma.numpy(),
            mu=seen.mu,
            ids=seen.ids.numpy(),
            labels=seen.labels.numpy(),
        )
