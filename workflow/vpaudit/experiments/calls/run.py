"""Quality against number of network calls, for every deterministic sampler, from 1 call to convergence."""

import pandas as pd

from vpaudit.experiments.bench import Bench, progress

CALLS = (1, 2, 3, 4, 5, 6, 8, 10, 16, 32)
CONVERGED = {"kind": "multistep", "order": 3, "steps": 100}
REFERENCE = {"kind": "ddim", "steps": 100}  # the same flow by other means: what "converged" is good to
SOLVERS = {
    "ddim": {"kind": "ddim"},
    "multistep_2": {"kind": "multistep", "order": 2},
    "multistep_3": {"kind": "multistep", "order": 3},
    "heun": {"kind": "heun"},
    "few_step": {"kind": "few_step"},
}


def run(bench: Bench) -> pd.DataFrame:
    """Columns solver, calls; metrics against the target, and `rmse_converged` against the converged output."""
    converged = bench.attack(**CONVERGED)
    settings = [("converged", 100, CONVERGED), ("ddim", 100, REFERENCE)]
    for solver, options in SOLVERS.items():
        for calls in CALLS:
            if solver == "heun" and calls % 2 == 0:
                continue  # n levels take 2 n - 1 calls
            if solver == "few_step" and calls not in bench.network.few_step:
                continue
            steps = (calls + 1) // 2 if solver == "heun" else calls
            settings.append((solver, calls, {**options, "steps": steps}))
    tables = []
    for solver, calls, options in progress(settings, f"calls mu={bench.mu:g}"):
        images = bench.attack(**options)
        tables.append(bench.quality(images, solver=solver, calls=calls))
        distance = (images - converged).square().flatten(1).mean(1).sqrt()
        tables.append(bench.rows({"rmse_converged": distance}, solver=solver, calls=calls))
    return pd.concat(tables, ignore_index=True)
