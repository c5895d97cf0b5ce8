"""Does bfloat16 change what the attack finds? Every sampler in both precisions, on the same observations and noise."""

import pandas as pd

from vpaudit.experiments.bench import Bench, progress
from vpaudit.measure import metrics

SAMPLERS = {
    "posterior_mean": {"kind": "posterior_mean"},
    "ddim": {"kind": "ddim", "steps": 16},
    "multistep_2": {"kind": "multistep", "order": 2, "steps": 10},
    "multistep_2 eta=1": {"kind": "multistep", "order": 2, "eta": 1.0, "steps": 20},
    "heun": {"kind": "heun", "steps": 8},
    "ddrm": {"kind": "ddrm", "eta": 0.85, "steps": 20},
    "few_step": {"kind": "few_step", "steps": 6},
}


def run(bench: Bench) -> pd.DataFrame:
    """Columns sampler, precision; `mse` to the target, and under "difference" `rms` between the two outputs."""
    made, network = {}, bench.network
    before = network.precision
    for precision in ("float32", "bfloat16"):
        network.precision = precision
        for name, options in progress(list(SAMPLERS.items()), f"precision {precision} mu={bench.mu:g}"):
            if options["kind"] != "few_step" or options["steps"] in network.few_step:
                made[name, precision] = bench.attack(**options)
    network.precision = before
    tables = [bench.errors(images, sampler=name, precision=kind) for (name, kind), images in made.items()]
    for name in {name: None for name, _ in made}:
        rms = metrics.mse(made[name, "float32"], made[name, "bfloat16"]).sqrt()
        tables.append(bench.rows({"rms": rms}, sampler=name, precision="difference"))
    return pd.concat(tables, ignore_index=True)
