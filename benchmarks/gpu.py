"""Network calls a second on a GPU: the shipped priors, and networks laid out as the paper's public ones.

    python benchmarks/gpu.py --out results/gpu/network.csv

Of each prior: strict float32, TF32 and bfloat16, as it is and channels-last; the small ones compiled too.
`calls_per_second` counts calls on one image, median of `n` batches of `rows`; `tflops` with the operations counted on
the network; `peak_mib` of the GPU's memory; `overhead`: time of a 20-call attack over that of its bare calls; `rmse`:
of that attack's images at mu = 20 from the same in float32, as a share of the pixel range (shipped priors alone: random
weights reconstruct nothing).
"""

import argparse
import itertools
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from vpaudit.attack import reconstruct
from vpaudit.base import files
from vpaudit.priors import network
from vpaudit.priors.network import NetworkPrior
from vpaudit.priors.train import build_scheduler
from vpaudit.privacy.mechanism import Observation
from vpaudit.study.config import Attack

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests"))
import architectures  # noqa: E402

SHIPPED = {"fashion_mnist_dit": 512}  # images a call
LAYOUTS = {"cifar10": 250, "celebahq": 32, "imagenet": 16}  # as in config/paper
COMPILED = ("fashion_mnist_dit", "cifar10")  # at 256 pixels compiling takes minutes
PRECISIONS = ("float32", "tf32", "bfloat16")
NORM = {1: 22.9, 3: 28.0}  # typical |x| on [-1, 1] at 28 x 28 and 32 x 32
TWENTY = Attack(name="gpu", kind="multistep", order=2, steps=20)


def of(name: str) -> NetworkPrior:
    if name in SHIPPED:
        prior = network.load(ROOT / "resources/priors" / name, "cuda", rows=SHIPPED[name])
    else:
        prior = NetworkPrior(architectures.network(name).cuda(), build_scheduler(), rows=LAYOUTS[name])
    return prior


def set_precision(prior: NetworkPrior, precision: str) -> None:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    prior.precision = "bfloat16" if precision == "bfloat16" else "float32"


def gigaflops(prior: NetworkPrior) -> float:
    """Of a call on one image."""
    with FlopCounterMode(display=False) as counted, torch.inference_mode():
        prior(torch.zeros(1, *prior.shape, device="cuda"), torch.zeros(1, device="cuda"), None)
    return counted.get_total_flops() / 1e9


def timed(action) -> float:
    torch.cuda.synchronize()
    begun = time.perf_counter()
    action()
    torch.cuda.synchronize()
    return time.perf_counter() - begun


@torch.inference_mode()
def bare(prior: NetworkPrior, calls: int = 1) -> None:
    x = torch.zeros(prior.rows, *prior.shape, device="cuda")
    for _ in range(calls):
        prior(x, torch.full((prior.rows,), 300.0, device="cuda"), None)


def observed(prior: NetworkPrior) -> Observation:
    """Two batches of smooth patterns in noise."""
    count, s = 2 * prior.rows, NORM.get(prior.shape[0], 28.0) / 20
    rng = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, prior.shape[0], 4, 4, generator=rng) * 2 - 1
    x = torch.nn.functional.interpolate(coarse, prior.shape[1:], mode="bilinear")
    y, ids = x + s * torch.randn(x.shape, generator=rng), torch.arange(count)
    ones = torch.ones(count, dtype=torch.float64)
    return Observation(y, ones, ones * s, ids, torch.zeros_like(ids), "gpu", 20.0)


def variants(name: str):
    """(how, precision, prior) in this order; one prior for all but the compiled ones."""
    prior = of(name)
    for how, precision in itertools.product(("as it is", "channels last"), PRECISIONS):
        if how == "channels last":
            prior.network.to(memory_format=torch.channels_last)
        set_precision(prior, precision)
        yield how, precision, prior
    if name in COMPILED:
        del prior
        prior = of(name)
        set_precision(prior, "bfloat16")
        prior.compile()
        yield "compiled", "bfloat16", prior


def rows_of(name: str, seconds: float) -> list[dict]:
    """Every precision and way of a prior."""
    found, reference, flops = [], None, None
    for how, precision, prior in variants(name):
        flops = flops or gigaflops(prior)
        torch.cuda.reset_peak_memory_stats()
        set_up = timed(lambda: bare(prior, 2))  # noqa: B023
        times = [timed(lambda: bare(prior)) for _ in range(3)]  # noqa: B023
        while sum(times) < seconds and len(times) < 200:
            times.append(timed(lambda: bare(prior)))  # noqa: B023
        rates = prior.rows / np.array(times)
        row = {"prior": name, "rows": prior.rows, "precision": precision, "how": how, "set_up_seconds": set_up}
        row |= {"calls_per_second": np.median(rates), "low": rates.min(), "high": rates.max(), "n": len(times)}
        row |= {"gflop": flops, "tflops": np.median(rates) * flops / 1e3}
        row |= {"peak_mib": torch.cuda.max_memory_allocated() / 2**20}
        if how == "as it is" and prior.shape[1] < 64:
            whole, images = attacked(prior)
            row["overhead"] = whole / timed(lambda: bare(prior, 2 * TWENTY.steps))  # noqa: B023
            reference = images if reference is None else reference
            if name in SHIPPED:
                row["rmse"] = float((images - reference).square().flatten(1).mean(1).sqrt().mean()) / 2
        found.append(row)
        print({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}, flush=True)
    torch.cuda.empty_cache()
    return found


def attacked(prior: NetworkPrior) -> tuple[float, torch.Tensor]:
    """Seconds of the second of two attacks, and its images."""
    seen, images = observed(prior), []
    for _ in range(2):
        seconds = timed(lambda: images.append(reconstruct.reconstruct(seen, prior, TWENTY, 0)))
    return seconds, images[-1]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, help="CSV file to write")
    parser.add_argument("--seconds", type=float, default=2.0, help="of timing each row, > 0 (default: %(default)s)")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("error: no GPU that torch sees\n  try: run it where `vpaudit doctor` names one")
    names = [name for name in SHIPPED if (ROOT / "resources/priors" / name).exists()]
    rows = [row for name in (*names, *LAYOUTS) for row in rows_of(name, arguments.seconds)]
    table = pd.DataFrame(rows).assign(device=torch.cuda.get_device_name(), torch=torch.__version__)
    with files.atomic(Path(arguments.out)) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")


if __name__ == "__main__":
    main()
