"""How far a study's metrics move between kinds of processor, for float32 and bfloat16.

    python benchmarks/processors.py --config results/embedded/config.yaml --out OUT.csv

One machine stands in for others: its libraries are told to use older instructions only (oneDNN, ATen, MKL), or another
number of threads. The same images, releases and random draws for each. A row a kind, precision, attack and metric:
`image` is the largest relative difference of an image's value from that of the machine as it is (float32, one thread),
`mean` that of the mean over images, `within` the share of images that agree to 1e-4 (or 1e-6 absolute).
"""

import argparse
import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from vpaudit.base import files

CBWR = "MKL_CBWR"
KINDS = {  # environment, threads
    "this one": ({}, 1),
    "two threads": ({}, 2),
    "AVX-512 without bfloat16": ({"ONEDNN_MAX_CPU_ISA": "AVX512_CORE", CBWR: "AVX512"}, 1),
    "AVX2": ({"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", CBWR: "AVX2"}, 1),
    "SSE": ({"ONEDNN_MAX_CPU_ISA": "SSE41", "ATEN_CPU_CAPABILITY": "default", CBWR: "COMPATIBLE"}, 1),
}
BFLOAT16 = "this one", "two threads", "AVX-512 without bfloat16", "AVX2"
JOBS = {"float32": tuple(KINDS), "bfloat16": BFLOAT16}  # older ones need minutes an image for bfloat16
ATTACKS = ("posterior_mean", "ddim", "ddpm")
RELATIVE, ABSOLUTE = 1e-4, 1e-6


def values(config_path: str, precision: str, mu: float, images: int, threads: int) -> pd.DataFrame:
    """attack, metric, image, value in this process."""
    import torch

    from vpaudit.attack import reconstruct
    from vpaudit.measure.meter import Meter
    from vpaudit.privacy import mechanism
    from vpaudit.stages.adversary import Priors
    from vpaudit.stages.inputs import read_targets
    from vpaudit.study import config as configuration
    from vpaudit.study.layout import Layout

    torch.set_num_threads(threads)
    config = configuration.load(config_path)
    layout = Layout(config)
    prior = Priors(config, layout, "cpu").network
    prior.precision, prior.rows = precision, images
    x, labels, ids = (v[:images] for v in read_targets(layout))
    rule = mechanism.Mechanism(mu, config.mechanism.max_grad_norm)
    seen = mechanism.release_analytic(x, ids, labels, rule, config.dataset, config.seed, 0)
    meter = Meter(config, x, ids)
    tables = []
    for attack in (a for a in config.attacks if a.name in ATTACKS):
        made = reconstruct.reconstruct(seen, prior, attack, config.seed, draw=0)
        tables.append(meter.rows(meter.against_targets(made, meter.features(made)), attack=attack.name))
    return pd.concat(tables, ignore_index=True)


def differences(kind: str, precision: str, found: pd.DataFrame, base: pd.DataFrame) -> pd.DataFrame:
    """A row an attack and metric."""
    keys = ["attack", "metric", "image"]
    both = base.merge(found, on=keys, suffixes=("_base", ""), validate="one_to_one")
    apart = (both["value"] - both["value_base"]).abs()
    both["image"] = apart / both["value_base"].abs()
    both["within"] = apart <= np.maximum(RELATIVE * both["value_base"].abs(), ABSOLUTE)
    table = both.groupby(["attack", "metric"], sort=False).agg(
        {"image": "max", "value": "mean", "value_base": "mean", "within": "mean"}
    )
    table["mean"] = (table["value"] / table["value_base"] - 1).abs()
    table.insert(0, "processor", kind)
    table.insert(1, "precision", precision)
    return table.reset_index()[["processor", "precision", "attack", "metric", "image", "mean", "within"]]


def main() -> None:
    """Command line; with --threads one kind of processor, in the process that main starts for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True, help="resolved configuration, results/<study>/config.yaml")
    parser.add_argument("--out", help="CSV file to write")
    parser.add_argument("--mu", type=float, default=5.0, help="> 0 (default: %(default)g)")
    parser.add_argument("--images", type=int, default=32, help="targets, >= 2 (default: %(default)s)")
    parser.add_argument("--precision", default="float32", help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.threads:
        values(asked.config, asked.precision, asked.mu, asked.images, asked.threads).to_csv(sys.stdout, index=False)
        return
    found = {}
    for precision, kinds in JOBS.items():
        for kind in kinds:
            print(f"{kind}, {precision} ...", flush=True)
            environment, threads = KINDS[kind]
            own = ["--precision", precision, "--threads", str(threads)]
            about = ["--config", asked.config, "--mu", str(asked.mu), "--images", str(asked.images)]
            done = subprocess.run(
                [sys.executable, __file__, *about, *own],
                env=os.environ | environment, stdout=subprocess.PIPE, text=True, check=True,
            )  # fmt: skip
            found[kind, precision] = pd.read_csv(io.StringIO(done.stdout))
    base = found["this one", "float32"]
    table = pd.concat([differences(*key, rows, base) for key, rows in found.items()], ignore_index=True)
    with files.atomic(Path(asked.out)) as temporary:
        table.to_csv(temporary, index=False, float_format="%.3g")
    print(table.groupby(["processor", "precision"], sort=False)[["image", "mean"]].max().to_string())


if __name__ == "__main__":
    main()
