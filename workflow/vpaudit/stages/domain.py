"""How far a study's images are from the kind that its prior knows."""

import pandas as pd

from vpaudit.base.files import write_table
from vpaudit.measure import prior_mismatch
from vpaudit.priors import samples
from vpaudit.stages.adversary import Priors
from vpaudit.stages.inputs import read_targets
from vpaudit.study.config import Config
from vpaudit.study.layout import Layout


def domain(config: Config, layout: Layout, device: str = "auto") -> None:
    """targets.npz, prior -> domain.parquet: how much worse the prior denoises these images than its own kind."""
    x, _, ids = read_targets(layout)
    network = Priors(config, layout, device).network
    card = layout.prior_card
    usual = {s: x[0].numel() * error for s, error in prior_mismatch.usual(card, network, x.shape[1:]).items()}
    if usual:
        kind = f"{card['held_out_images']} held-out images"
        measured = prior_mismatch.errors(network, x, [(config.seed, i) for i in ids.tolist()], usual)
    else:
        keys, kind = list(range(prior_mismatch.SAMPLES)), f"{prior_mismatch.SAMPLES} samples of the prior"
        own = samples.draw(network, config.seed, keys, prior_mismatch.STEPS, 2)
        usual = {s: v.mean() for s, v in prior_mismatch.errors(network, own, [("own", k) for k in keys]).items()}
        measured = prior_mismatch.errors(network, x, [(config.seed, i) for i in ids.tolist()])
    rows = [
        pd.DataFrame({"image": ids.numpy(), "s": s, "value": value, "reference": usual[s], "reference_kind": kind})
        for s, value in measured.items()
    ]
    write_table(layout.table("domain"), pd.concat(rows).assign(dataset=config.dataset))
