"""Where reconstruction ends, predicted without the attacked images: the study's test on images that are not attacked.

The threshold mu* of `summary.end_of_success` needs an attack's similarity to its own target and to others, and the
similarity of unrelated images; each is had from training images (reference) and from the prior's own samples.
"""

import pandas as pd
import torch

from vpaudit import data
from vpaudit.attack import reconstruct
from vpaudit.base import pixels
from vpaudit.experiments.bench import LONG_CHAIN, Bench, progress
from vpaudit.measure.meter import Meter
from vpaudit.privacy.mechanism import Mechanism, release_analytic

LARGEST_MU = 10.0  # above it no threshold is looked for


def run(bench: Bench) -> pd.DataFrame:
    """Columns source, mu, kind ("own", "others", "unrelated"; mu 0 there), metric, value, one row an image."""
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
        tables.append(meter.against_others(x, meter.features_of_x, source=source, kind="unrelated", mu=0.0))
        for mu in progress([m for m in config.mechanism.mu if m <= LARGEST_MU], f"transition {source}"):
            rule = Mechanism(mu, config.mechanism.max_grad_norm)
            seen = release_analytic(x, ids, ids, rule, f"{config.dataset} {source}", config.seed)
            for chosen_attack in attacks:
                images = reconstruct.reconstruct(bench.within(seen), bench.network, chosen_attack, config.seed)
                pair, tag = (images, meter.features(images)), {"source": source, "mu": mu}
                tables.append(meter.rows(meter.against_targets(*pair), other=ids.numpy(), kind="own", **tag))
                tables.append(meter.against_others(*pair, kind="others", **tag))
    found = pd.concat(tables, ignore_index=True)
    return found[found["metric"] != "psnr"].reset_index(drop=True)
