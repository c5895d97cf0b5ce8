"""What the norm that λ reveals is worth: each estimator of `attack.given_norm` by itself, and their blend."""

import pandas as pd

from vpaudit.attack.given_norm import references_given_norm, told_norm
from vpaudit.experiments.bench import Bench, progress
from vpaudit.privacy.mechanism import Mechanism

WITH_NORM = ("network, norm", "Gaussian, norm", "training images, norm", "training images, near norm")


def run(bench: Bench) -> pd.DataFrame:
    """Column estimator; `mse` to the target, at the study's mu; of clipped images alone."""
    tables = []
    for mu in progress(bench.config.mechanism.mu, "norm"):
        seen = bench.release(Mechanism(mu, bench.config.mechanism.max_grad_norm))
        attack = bench.priors.attack_given_norm(seen)
        mean = bench.posterior_mean(seen)
        norm = told_norm(seen, attack.max_grad_norm)
        made = {
            "Gaussian": bench.attack(kind="wiener", seen=seen),
            "network": mean,
            "training images": references_given_norm(
                attack.references, seen.rescaled(), seen.s, norm, widths=[float("inf")]
            )[0],
            **dict(zip(WITH_NORM, attack.estimates(seen, mean)[1:])),
            "blend": attack.reconstruct(seen),
        }
        found = pd.concat([bench.errors(images.clamp(-1, 1), estimator=name) for name, images in made.items()])
        tables.append(found.assign(mu=mu))
    return pd.concat(tables, ignore_index=True)
