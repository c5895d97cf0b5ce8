"""The fitted solver of most calls against the converged output, on test images that are not the study's own.

`calls` compares all solvers on a few images. Whether one of them is within a per cent takes more: where similarity is
near zero (small mu), its ratio on few images is mostly noise.
"""

import pandas as pd

from vpaudit.experiments.bench import Bench

MORE = 320
# 32 steps already lie within half a per cent of the range of 100 (`calls`).
CONVERGED = {"kind": "multistep", "order": 3, "steps": 60}


def run(bench: Bench) -> pd.DataFrame:
    """Columns solver ("converged", "few_step"), calls; metrics against the target, and `rmse_converged`."""
    bench = bench.others(MORE)
    most = max(bench.network.few_step)
    converged = bench.attack(**CONVERGED)
    fitted = bench.attack(kind="few_step", steps=most)
    distance = (fitted - converged).square().flatten(1).mean(1).sqrt()
    tables = [
        bench.quality(converged, solver="converged", calls=CONVERGED["steps"]),
        bench.quality(fitted, solver="few_step", calls=most),
        bench.rows({"rmse_converged": distance}, solver="few_step", calls=most),
    ]
    return pd.concat(tables, ignore_index=True)
