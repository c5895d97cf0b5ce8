"""Which pixels may be called real: limits of the spread between draws, calibrated on images whose targets are known.

Each image's limit comes from the study's other images under the first prior, so images are exchangeable with those
they are judged by, as the guarantee wants; another adversary would take public images of the same kind, which it
releases itself. Under the second prior, a wrong one, nothing is guaranteed, and this shows what then happens.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from vpaudit.experiments.bench import Bench
from vpaudit.experiments.confident import LEVEL
from vpaudit.experiments.draws.run import posterior_draws
from vpaudit.measure import agreement, believed, metrics
from vpaudit.measure.believed import TOLERANCE

PRIORS = ("unconditional", "wrong_class")
DRAWS = 16
EXAMPLES = 4


@dataclass(frozen=True)
class Seen:
    """Of each image: `mean` of draws; by pixel their `spread` and |mean - target|, `error`; estimated and achieved MSE
    of a draw."""

    mean: torch.Tensor
    spread: np.ndarray
    error: np.ndarray
    estimated: np.ndarray
    achieved: np.ndarray

    @classmethod
    def of(cls, draws: torch.Tensor, x: torch.Tensor) -> "Seen":
        mean = draws.mean(0)
        achieved = torch.stack([metrics.mse(draw, x) for draw in draws]).mean(0)
        values = (draws.std(0).flatten(1), (mean - x).abs().flatten(1), agreement.expected_mse(draws), achieved)
        return cls(mean, *(v.double().numpy() for v in values))

    def callable(self, among: str) -> np.ndarray:
        """(n, pixels): those that may be called real at all, as the adversary sees it."""
        return content(self.mean) if among == "content" else np.ones(self.spread.shape, dtype=bool)


def run(bench: Bench) -> pd.DataFrame:
    """Columns prior, among, place. `among` says which pixels are called: all, or only those off the background of the
    estimate (content). `called` is their share of an image's pixels and `wrong` the share of these that is wrong;
    `content_called` and `content_wrong` are shares of all pixels, on the target's own `content`; `within`, whether the
    error is below the limit. `example_*` are pixels, `place` their number.
    """
    seen = {prior: Seen.of(posterior_draws(bench, prior, DRAWS), bench.x) for prior in PRIORS}
    right, own = seen[PRIORS[0]], content(bench.x)
    others = ~np.eye(len(bench.x), dtype=bool)
    tables = []
    for among in ("all", "content"):
        counted = right.callable(among)
        limits = believed.trusted_by_others(believed.worst_shares(right.spread, right.error, counted))
        for prior, found in seen.items():
            values = _called(found, found.callable(among), limits[:, None], own)
            tables.append(_rows(bench, values, prior, among))
    level = min(LEVEL, (len(others) - 1) / len(others))
    factors = np.array([agreement.conformal_factor(right.estimated[o], right.achieved[o], level) for o in others])
    for prior, found in seen.items():
        within = {"within": found.achieved <= factors * found.estimated, "content": own.mean(axis=1)}
        tables.append(_rows(bench, within, prior, "all"))
    return pd.concat(tables + _examples(bench, seen), ignore_index=True)


def _called(seen: Seen, counted: np.ndarray, limits: np.ndarray, own: np.ndarray) -> dict[str, np.ndarray]:
    called = (seen.spread <= limits) & (limits > 0) & counted
    wrong = called & (seen.error > TOLERANCE)
    return {
        "called": called.mean(axis=1),
        "wrong": wrong.sum(axis=1) / np.maximum(called.sum(axis=1), 1),
        "content_called": (called & own).mean(axis=1),
        "content_wrong": (wrong & own).mean(axis=1),
    }


def content(images: torch.Tensor) -> np.ndarray:
    """bool (n, pixels): what is not background."""
    return believed.content(images.numpy()).reshape(len(images), -1)


def _rows(bench: Bench, values: dict[str, np.ndarray], prior: str, among: str) -> pd.DataFrame:
    tensors = {name: torch.from_numpy(v.astype(float)) for name, v in values.items()}
    return bench.rows(tensors, prior=prior, among=among, place=-1)


def _examples(bench: Bench, seen: dict[str, Seen]) -> list[pd.DataFrame]:
    """Pixels of the images of which the last prior is most often sure (its spread below a half of TOLERANCE) and
    wrong (by more than TOLERANCE)."""
    last = seen[PRIORS[-1]]
    sure = (last.spread < TOLERANCE / 2) & (last.error > TOLERANCE)
    worst = np.argsort(-sure.sum(1), kind="stable")[:EXAMPLES].copy()
    tables = []
    for prior, found in seen.items():
        flat = {"mean": found.mean.flatten(1).numpy(), "spread": found.spread, "target": bench.x.flatten(1).numpy()}
        for name, values in flat.items():
            common = {"dataset": bench.config.data.name, "mu": bench.mu, "metric": f"example_{name}"}
            rows = pd.DataFrame({
                "image": np.repeat(bench.ids.numpy()[worst], values.shape[1]),
                "place": np.tile(np.arange(values.shape[1]), len(worst)),
                "value": values[worst].reshape(-1).astype(float),
            })  # fmt: skip
            tables.append(rows.assign(prior=prior, among="all", **common))
    return tables
