"""The prior of any size on whole photographs of 256 x 256: decibels above the radial Gaussian that it corrects.

    python benchmarks/any_size.py       # into results/priors/any_size.csv and any_size_cost.csv, in ten minutes

Each test image is seen under the same noise by both. psnr: of the posterior mean, mean over images, peak to peak 2;
gain: of the network over the Gaussian on the same image, with its 95 % interval over images. Noise is given as s on
[-1, 1] and in grey levels of 255. Cost: floating-point operations of one evaluation, seconds, and the memory that the
process grows by in a batch of four.
"""

import argparse
import resource
import time
from pathlib import Path

import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from vpaudit import data
from vpaudit.base import files, pixels, places, stats
from vpaudit.base.pixels import per_image
from vpaudit.base.randomness import KeyedNoise
from vpaudit.measure.metrics import psnr
from vpaudit.priors import find, network

SETS = {"photos_256_local": "photographs", "celebahq_256_local": "portraits"}
GREY_LEVELS = (5, 10, 25, 50, 100)
STRONG = (2.0, 5.0, 10.0, 20.0, 31.0, 60.0)
NOISE = (*(2 * level / 255 for level in GREY_LEVELS), *STRONG)
SIDE, BATCH = 256, 4


def decibels(model, x: torch.Tensor, domain: str) -> pd.DataFrame:
    """A row a noise: s, grey_levels, psnr, gaussian_psnr, gain, low, high; x float32 (N, C, H, W)."""
    found = []
    for s in tqdm(NOISE, desc=domain, disable=None, ncols=79):
        sigma = torch.full((len(x),), s)
        y = x + per_image(sigma) * KeyedNoise([(0, "any size", domain, s, i) for i in range(len(x))], x.shape[1:])()
        own, closed = (psnr(prior.denoise(y, sigma).clamp(pixels.LOW, pixels.HIGH), x) for prior in (model, model.base))
        gain, low, high = stats.bootstrap((own - closed).double().numpy())
        numbers = {"psnr": float(own.mean()), "gaussian_psnr": float(closed.mean())}
        found.append({"s": s, "grey_levels": s * 255 / 2, **numbers, "gain": gain, "low": low, "high": high})
    return pd.DataFrame(found).assign(domain=domain, n=len(x))


def cost(model) -> pd.DataFrame:
    """One row: gflop and seconds of an evaluation, mebibytes that the first batch adds to what the process held."""
    x, sigma, before = torch.zeros(BATCH, 3, SIDE, SIDE), torch.full((BATCH,), 0.5), _peak()
    model.denoise(x, sigma)
    row = {"side": SIDE, "batch": BATCH, "mebibytes": _peak() - before}
    begun = time.perf_counter()
    model.denoise(x, sigma)
    row |= {"seconds": (time.perf_counter() - begun) / BATCH, "threads": torch.get_num_threads()}
    with FlopCounterMode(display=False) as counter:
        model.denoise(x, sigma)
    return pd.DataFrame([row | {"gflop": counter.get_total_flops() / BATCH / 1e9, "precision": model.precision}])


def _peak() -> float:
    """MiB that this process has held at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, help="of each set, at most (default: all)")
    parser.add_argument("--prior", default="photographs", help="(default: %(default)s)")
    parser.add_argument("--results", type=Path, default=places.home() / "results/priors", help="(default: %(default)s)")
    arguments = parser.parse_args()
    model = network.load(find.names()[arguments.prior], precision="auto")
    tables = {"any_size_cost": cost(model)}
    whole = {name: pixels.from_uint8(data.load(card, "test").images[: arguments.images]) for card, name in SETS.items()}
    tables["any_size"] = pd.concat([decibels(model, x, name) for name, x in whole.items()], ignore_index=True)
    for name, table in tables.items():
        with files.atomic(arguments.results / f"{name}.csv") as temporary:
            table.to_csv(temporary, index=False, float_format="%.5g")
        print(table.to_string(index=False))


if __name__ == "__main__":
    main()
