"""Where reconstruction ends, predicted without the attacked images, by the study's measure on other images.

The share recovered (`report.results.share_recovered`) needs an attack's distance to its own target and to others; both
are had from training images (reference) and from the prior's own samples.
"""

import pandas as pd
import torch

from vpaudit import data
from vpaudit.attack import reconstruct
from vpaudit.base import pixels
from vpaudit.experiments.bench import LONG_CHAIN, Bench, progress
from vpaudit.measure.meter import Meter
from vpaudit.privacy.mechanism import Mechanism, release_analytic

LARGEST_MU = 10.0  # above it no end is looked for


def run(bench: Bench) -> pd.DataFrame:
    """Columns source, mu, image, other (the image itself: its own target), metric, value."""
    config = bench.config
    count = config.data.images
    chosen = data.select(data.load(config.data.name, "train"), count, config.seed)
    ids = torch.arange(len(chosen.images))
    sources = {
        "reference": pixels.from_uint8(chosen.images),
        "prior": bench.sample_prior(ids, LONG_CHAIN, order=1),
    }
    attacks = [a for a in config.attacks if a.name == "ddim"]
    tables = []
    for source, x in sources.items():
        meter = Meter(config, x, ids)
        for mu in progress([m for m in config.mechanism.mu if m <= LARGEST_MU], f"transition {source}"):
            rule = Mechanism(mu, config.mechanism.max_grad_norm)
            seen = release_analytic(x, ids, ids, rule, f"{config.dataset} {source}", config.seed)
            for chosen_attack in attacks:
                images = reconstruct.reconstruct(bench.within(seen), bench.network, chosen_attack, config.seed)
                pair, tag = (images, meter.features(images)), {"source": source, "mu": mu}
                tables.append(meter.rows(meter.against_targets(*pair), other=ids.numpy(), **tag))
                tables.append(meter.against_others(*pair, **tag))
    found = pd.concat(tables, ignore_index=True)
    return found[found["metric"] != "psnr"].reset_index(drop=True)
