"""What the adversary loses where sigma or lambda is not told, or told wrongly."""

import pandas as pd

from vpaudit.attack import knowledge as beliefs
from vpaudit.experiments.bench import Bench, progress
from vpaudit.study.config import Knowledge

ERRORS = (-0.2, -0.1, -0.05, 0.05, 0.1, 0.2)
CASES = [
    Knowledge(),
    *(Knowledge(sigma=name) for name in ("wavelet", "patches", "blank", "prior")),
    *(Knowledge(lam=name) for name in ("norm", "energy", "prior")),
    *(Knowledge(sigma=s, lam=lam) for s in ("blank", "patches", "prior") for lam in ("norm", "energy", "prior")),
    *(Knowledge(sigma_error=e) for e in ERRORS),
    *(Knowledge(lam_error=e) for e in ERRORS),
]
ATTACKS = {"posterior_mean": {"kind": "posterior_mean"}, "ddim": {"kind": "multistep", "order": 2, "steps": 10}}


def run(bench: Bench) -> pd.DataFrame:
    """Columns knowledge, sigma, lam, attack; sigma_ratio and lambda_ratio (believed over true) and quality."""
    norm, clip = beliefs.typical_norm(bench.gaussian), bench.config.mechanism.max_grad_norm
    tables = []
    for case in progress(CASES, f"knowledge mu={bench.mu:g}"):
        seen = beliefs.believe(bench.seen, case, bench.network, norm, clip, bench.config.seed)
        columns = {"knowledge": case.label, "sigma": case.sigma, "lam": case.lam}
        columns |= {"sigma_error": case.sigma_error, "lam_error": case.lam_error}
        ratios = {"sigma_ratio": seen.sigma / bench.seen.sigma, "lambda_ratio": seen.lam / bench.seen.lam}
        tables.append(bench.rows(ratios, attack="", **columns))
        for name, options in ATTACKS.items():
            tables.append(bench.quality(bench.attack(seen=bench.within(seen), **options), attack=name, **columns))
    return pd.concat(tables, ignore_index=True)
