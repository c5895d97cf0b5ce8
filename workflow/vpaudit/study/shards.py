"""How a study is cut into jobs: a part is all images at one mu, named "5", or a shard of them, named "5_shard=0003".

Nothing that is computed depends on the cut: randomness is keyed by image (`rng`), and shards are joined again in the
tables. Torch is not needed.
"""

import re
from dataclasses import dataclass

from vpaudit.base.errors import VpauditError
from vpaudit.study.config import Config

PATTERN = r"[0-9.e+-]+(_shard=[0-9]+)?"  # of a part's name, for the rules


@dataclass(frozen=True)
class Part:
    """A value of the grid of mu, and which of the study's images (places in targets.npz)."""

    mu: str
    images: slice

    def __len__(self) -> int:
        return self.images.stop - self.images.start


def names(config: Config) -> list[str]:
    """Every part of a study, mu by mu."""
    return [name for mu in config.mu_names for name in at(config, mu)]


def at(config: Config, mu: str) -> list[str]:
    """The parts at one mu."""
    size = config.jobs.images_per_job
    if size is None or size >= config.data.images:
        return [mu]
    return [f"{mu}_shard={number:04d}" for number in range(-(-config.data.images // size))]


def find(config: Config, name: str) -> Part:
    """The part of this name.

    Raises:
        VpauditError: the study has no such part.
    """
    mu = name.split("_shard=")[0]
    if not re.fullmatch(PATTERN, name) or name not in at(config, mu):
        raise VpauditError(
            f"the study has no part {name!r}",
            f"parts are a mu, or mu_shard=NNNN where jobs.images_per_job cuts {config.data.images} images",
        )
    size = config.jobs.images_per_job or config.data.images
    start = int(name.split("_shard=")[1]) * size if "_shard=" in name else 0
    stop = min(start + size, config.data.images) if "_shard=" in name else config.data.images
    return Part(mu, slice(start, stop))
