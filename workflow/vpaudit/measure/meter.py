"""Measuring a study: every reconstruction against its target, against other targets, and draws against each other."""

import numpy as np
import pandas as pd
import torch

from vpaudit.base.errors import VpauditError
from vpaudit.base.randomness import generator
from vpaudit.measure import agreement, metrics
from vpaudit.privacy.mechanism import Mechanism, separation
from vpaudit.study.config import Config

CONSISTENCY = {"dataset": str, "image": int, "prior": str, "attack": str, "mu": float, "metric": str}
CONSISTENCY |= {"agreement": float, "achieved": float}
NO_PARTNER = -1  # in the column `other`: the mean image is none of the targets
REFERENCES = {"dataset": str, "image": int, "prior": str, "attack": str, "mu": float, "reference": str}
REFERENCES |= {"separation": float, "draw": int, "metric": str, "value": float}


# Pixels whose LPIPS features (33 MB for each image of 256 x 256, VGG) are held at once: 128 images up to 64 x 64, 8 of
# 256 x 256. All draws of an attack are held beside the targets, so 16 draws of 8 such images take 5 GB.
PIXELS_AT_ONCE = 128 * 64 * 64


def at_once(sides) -> int:
    """How many images of (H, W) are measured together; results do not depend on it."""
    height, width = (max(64, side) for side in sides)
    return max(1, PIXELS_AT_ONCE // (height * width))


def backbone(config: Config, shape, device: str = "cpu") -> "metrics.Lpips | None":
    """The study's LPIPS for images of shape (..., H, W); None if it measures none, or (said) has no weights for it."""
    if config.lpips is None:
        return None
    if config.lpips != metrics.lpips_name(shape):
        raise VpauditError(
            f"{config.lpips} is not what LPIPS measures on images of shape {tuple(shape[1:])}",
            f"name {metrics.lpips_name(shape)} in evaluate.metrics",
        )
    try:
        return metrics.Lpips(device=device)
    except metrics.BackboneMissing as error:
        print(f"{config.lpips} left out: {error}", flush=True)
        return None


class Meter:
    """The study's metrics on its targets. LPIPS features of targets and of those they are compared with are made once.

    Args:
        pool: float32 (M, C, H, W) in [-1, 1], the targets and the other images that they are compared with.
        ids: int64 (M,), of the pool's images.
        own: int64 (N,), places of the targets in the pool; None takes all.
        others: for each comparison with unrelated images the places (N,) of the other ones; None draws them.
        lpips: what `backbone` gave; None builds it.
        device: where metrics are computed.
    """

    def __init__(self, config: Config, pool, ids, own=None, others=None, lpips=None, device: str = "cpu"):
        own = torch.arange(len(pool)) if own is None else own
        if others is None:
            others = [own[other_targets(len(own), config.seed, k)] for k in range(config.evaluate.unrelated)]
        self.pool, self.ids, self.dataset, self.device = pool.to(device), ids[own], config.dataset, device
        self.x, self.others, self.partners = self.pool[own.to(device)], others, [ids[other] for other in others]
        self.names = [name for name in config.evaluate.metrics if name in metrics.FUNCTIONS]
        self.lpips_name, self.lpips = config.lpips, lpips or backbone(config, pool.shape, device)
        self.features_of_pool = self.features(pool)
        self.features_of_x = self._features_at(own)

    def features(self, images: torch.Tensor):
        """LPIPS features, or None without LPIPS."""
        return self.lpips.features(images) if self.lpips else None

    def _features_at(self, places: torch.Tensor) -> list[torch.Tensor] | None:
        """Those of images of the pool: its rows, not copied."""
        return None if self.features_of_pool is None else [self.features_of_pool[place] for place in places.tolist()]

    def compare(self, a, b, a_features, b_features) -> dict[str, torch.Tensor]:
        """{metric: (N,)} on the CPU between two batches of images and their features; without these no LPIPS."""
        values = metrics.compute(self.names, a.to(self.device), b.to(self.device))
        values = {name: value.cpu() for name, value in values.items()}
        if a_features is not None:
            values[self.lpips_name] = self.lpips.distance(a_features, b_features)
        return values

    def against_targets(self, images, features) -> dict[str, torch.Tensor]:
        """{metric: (N,)} between images and the targets."""
        return self.compare(images, self.x, features, self.features_of_x)

    def against_others(self, images, features, **columns) -> pd.DataFrame:
        """Rows of each image against targets other than its own, whose ids are the column `other`."""
        pairs = ((self.pool[other.to(self.device)], self._features_at(other)) for other in self.others)
        found = [self.compare(images, x, features, own) for x, own in pairs]
        return pd.concat([self.rows(values, other=ids.numpy(), **columns) for values, ids in zip(found, self.partners)])

    def rows(self, values: dict[str, torch.Tensor], **columns) -> pd.DataFrame:
        """Long format: a row an image and metric; values of all images, or of the first ones."""
        tables = []
        for name, v in values.items():
            base = {"dataset": self.dataset, "image": self.ids[: len(v)].numpy(), **columns}
            tables.append(pd.DataFrame({**base, "metric": name, "value": v.numpy()}))
        return pd.concat(tables)


def without_release(meter: Meter, mean: torch.Tensor) -> pd.DataFrame:
    """Baselines: test images against other test images, and the mean training image (C, H, W) against each."""
    images = mean.to(meter.device).expand_as(meter.x)
    tag = {"prior": "", "attack": "", "mu": np.nan}
    unrelated = meter.against_others(meter.x, meter.features_of_x, kind="test_vs_test", **tag)
    of_mean = meter.against_targets(images, meter.features(images))
    return pd.concat([unrelated, meter.rows(of_mean, kind="mean_image", other=NO_PARTNER, **tag)], ignore_index=True)


def measure(
    meter: Meter, draws: torch.Tensor, tag: dict, knowledge: str = "sigma known, lambda known"
) -> dict[str, pd.DataFrame]:
    """The three tables of one attack at one mu.

    Args:
        draws: float32 (K, N, C, H, W).
        tag: prior, attack, mu; knowledge: what the adversary knew, for the tables.
    """
    features = [meter.features(draw) for draw in draws]
    achieved = [meter.against_targets(*pair) for pair in zip(draws, features)]
    tables = [meter.rows(v, knowledge=knowledge, rounds=1, draw=k, **tag) for k, v in enumerate(achieved)]
    others = meter.against_others(draws[0], features[0], kind="reconstruction_vs_other", **tag)
    agreed = no_rows(CONSISTENCY)
    if len(draws) > 1:
        agreed = agreement_rows(meter, draws, features, achieved, tag)
    return {"metrics": pd.concat(tables), "baselines": others, "consistency": agreed}


def without_target(
    meter: Meter, made: dict[str, torch.Tensor], rule: Mechanism, mean: torch.Tensor, names: list[str]
) -> pd.DataFrame:
    """What attacks made of releases that do not hold the target, measured against the target.

    Args:
        made: {"<reference>.<prior>.<attack>": (K, N, C, H, W)}; mean: the image that the reference "mean" releases.
        names: of the metrics.
    """
    tables = [no_rows(REFERENCES)]
    for name, draws in made.items():
        tag = dict(zip(("reference", "prior", "attack"), name.split(".")))
        away = separation(meter.x.cpu(), tag["reference"], mean, rule).numpy()
        for k, images in enumerate(draws):
            values = meter.against_targets(images, meter.features(images) if meter.lpips_name in names else None)
            wanted = {metric: values[metric] for metric in names if metric in values}
            tables.append(meter.rows(wanted, mu=rule.mu, separation=away, draw=k, **tag))
    return pd.concat([table for table in tables if len(table)] or tables)[list(REFERENCES)]


def no_rows(columns: dict[str, type]) -> pd.DataFrame:
    """An empty table of these columns."""
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in columns.items()})


def agreement_rows(meter: Meter, draws, features, achieved, tag: dict) -> pd.DataFrame:
    """Agreement (from draws alone) beside what was achieved (against the target)."""
    found = agreement.agreement(draws, lambda j, k: meter.compare(draws[j], draws[k], features[j], features[k]))
    reached = {name: torch.stack([values[name] for values in achieved]).mean(0) for name in achieved[0]}
    if "mse" in reached:
        reached["pixel_std"] = reached["mse"].sqrt()
    both = {name: values for name, values in found.items() if name in reached}
    table = meter.rows(both, **tag).rename(columns={"value": "agreement"})
    return table.assign(achieved=np.concatenate([reached[name].numpy() for name in both]))


def other_targets(count: int, seed: int, number: int) -> torch.Tensor:
    """For each of `count` images the place of another one: a random cyclic shift of a random order, (count,) int64."""
    order = torch.randperm(count, generator=generator(seed, "other targets", number))
    partner = torch.empty_like(order)
    partner[order] = order.roll(1)
    return partner
