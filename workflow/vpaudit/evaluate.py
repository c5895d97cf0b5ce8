"""Measuring a study: every reconstruction against its target, against other targets, and draws against each other."""

import numpy as np
import pandas as pd
import torch

from vpaudit import consistency, metrics
from vpaudit.config import Config
from vpaudit.errors import VpauditError
from vpaudit.rng import generator

CONSISTENCY = {"dataset": str, "image": int, "prior": str, "attack": str, "mu": float, "metric": str}
CONSISTENCY |= {"agreement": float, "achieved": float}


class Meter:
    """The study's metrics on its targets, whose LPIPS features are made once.

    Args:
        x: targets, float32 (N, C, H, W) in [-1, 1].
        ids: int64 (N,).
    """

    def __init__(self, config: Config, x: torch.Tensor, ids: torch.Tensor):
        self.x, self.ids, self.dataset = x, ids, config.dataset
        self.names = [name for name in config.evaluate.metrics if name in metrics.FUNCTIONS]
        self.others = [other_targets(len(x), config.seed, k) for k in range(config.evaluate.unrelated)]
        self.lpips_name = next((name for name in config.evaluate.metrics if name not in metrics.FUNCTIONS), None)
        self.lpips = self._backbone()
        self.features_of_x = self.features(x)

    def _backbone(self) -> "metrics.Lpips | None":
        if self.lpips_name is None:
            return None
        if self.lpips_name != metrics.lpips_name(self.x.shape):
            raise VpauditError(
                f"{self.lpips_name} is not what LPIPS measures on images of shape {tuple(self.x.shape[1:])}",
                f"name {metrics.lpips_name(self.x.shape)} in evaluate.metrics",
            )
        try:
            return metrics.Lpips()
        except metrics.BackboneMissing as error:
            print(f"{self.lpips_name} left out: {error}", flush=True)
            return None

    def features(self, images: torch.Tensor):
        """LPIPS features, or None without LPIPS."""
        return self.lpips.features(images) if self.lpips else None

    def compare(self, a, b, a_features, b_features) -> dict[str, torch.Tensor]:
        """{metric: (N,)} between two batches of images and their features."""
        values = metrics.compute(self.names, a, b)
        if self.lpips:
            values[self.lpips_name] = self.lpips.distance(a_features, b_features)
        return values

    def against_targets(self, images, features, order=slice(None)) -> dict[str, torch.Tensor]:
        """{metric: (N,)} between images and the targets, in another order if one is given."""
        picked = None if self.features_of_x is None else [layer[order] for layer in self.features_of_x]
        return self.compare(images, self.x[order], features, picked)

    def against_others(self, images, features) -> dict[str, torch.Tensor]:
        """{metric: (N,)} between each image and targets other than its own, mean over those."""
        found = [self.against_targets(images, features, order) for order in self.others]
        return {name: torch.stack([values[name] for values in found]).mean(0) for name in found[0]}

    def rows(self, values: dict[str, torch.Tensor], **columns) -> pd.DataFrame:
        """Long format: a row an image and metric."""
        base = {"dataset": self.dataset, "image": self.ids.numpy(), **columns}
        return pd.concat([pd.DataFrame({**base, "metric": name, "value": v.numpy()}) for name, v in values.items()])


def without_release(meter: Meter, mean: torch.Tensor) -> pd.DataFrame:
    """Baselines: test images against other test images, and the mean training image (C, H, W) against each."""
    images = mean.expand_as(meter.x)
    found = {
        "test_vs_test": meter.against_others(meter.x, meter.features_of_x),
        "mean_image": meter.against_targets(images, meter.features(images)),
    }
    tag = {"prior": "", "attack": "", "mu": np.nan}
    return pd.concat([meter.rows(values, kind=kind, **tag) for kind, values in found.items()], ignore_index=True)


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
    others = meter.rows(meter.against_others(draws[0], features[0]), kind="reconstruction_vs_other", **tag)
    agreement = pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in CONSISTENCY.items()})
    if len(draws) > 1:
        agreement = agreement_rows(meter, draws, features, achieved, tag)
    return {"metrics": pd.concat(tables), "baselines": others, "consistency": agreement}


def agreement_rows(meter: Meter, draws, features, achieved, tag: dict) -> pd.DataFrame:
    """Agreement (from draws alone) beside what was achieved (against the target)."""
    found = consistency.agreement(draws, lambda j, k: meter.compare(draws[j], draws[k], features[j], features[k]))
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
