"""Attack error predicted without the attacked images: from the prior's own samples, and from training images."""

import pandas as pd
import torch

from vpaudit import data
from vpaudit.attack import reconstruct
from vpaudit.base import pixels
from vpaudit.experiments.bench import PRIORS, Bench, progress
from vpaudit.measure import metrics
from vpaudit.privacy.mechanism import Observation, release_analytic
from vpaudit.study.config import Attack

ATTACKS = {
    "posterior_mean": {"kind": "posterior_mean"},
    "ddim": {"kind": "multistep", "order": 2, "steps": 10},
    "ddpm": {"kind": "multistep", "order": 2, "eta": 1.0, "steps": 20},
}


def run(bench: Bench) -> pd.DataFrame:
    """Columns source ("targets", "reference", "prior"), prior, attack; MSE per image at the mu of the bench."""
    config, tables = bench.config, []
    reference = data.select(data.load(config.data.name, "train"), len(bench.x), config.seed)
    sources = {
        "targets": (bench.x, bench.labels, config.dataset),
        "reference": (
            pixels.from_uint8(reference.images),
            torch.from_numpy(reference.labels.astype("int64")),
            f"{config.dataset} reference",
        ),
        "prior": (bench.images_of_the_prior(), None, f"{config.dataset} of the prior"),
    }
    for source, (x, labels, name) in progress(list(sources.items()), f"prediction mu={bench.mu:g}"):
        known = torch.full_like(bench.ids, -1) if labels is None else labels
        seen = release_analytic(x, bench.ids, known, bench.mechanism, name, config.seed)
        for prior in PRIORS if labels is not None else ("unconditional", "gaussian"):
            for name_, options in ATTACKS.items() if prior != "gaussian" else [("posterior_mean", {"kind": "wiener"})]:
                images = _attack(bench, seen, prior, options)
                columns = {"source": source, "prior": prior, "attack": name_}
                tables.append(bench.rows({"mse": metrics.mse(images, x)}, **columns))
    return pd.concat(tables, ignore_index=True)


def _attack(bench: Bench, seen: Observation, prior: str, options: dict) -> torch.Tensor:
    chosen = Attack(name=options["kind"], **options)
    conditioning = "unconditional" if prior == "gaussian" else prior
    return reconstruct.reconstruct(seen, bench.priors.of(chosen.kind), chosen, bench.config.seed, conditioning)
