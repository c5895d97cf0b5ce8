"""Measure the attack engine against other libraries, and against the bare network, in one run on one machine.

    python benchmarks/run.py peers --config results/embedded/config.yaml --out results/embedded/benchmarks/peers.parquet
    snakemake benchmarks

`peers`: the same prior, images, noise and machine for each; every method twice, in alternating order, the shorter time
counts; quality is what it is. Column `memory_mib`: growth of the process's peak while the method ran, in a process of
its own. `overhead`: wall time of the attack over calls x bare forward time, over batches and calls. `network`: images a
second of one call, by precision and with torch.compile, in alternating order, and what compiling costs once.
"""

import argparse
import itertools
import multiprocessing
import resource
import time
from pathlib import Path

import numpy as np
import pandas as pd
import peers
import torch
from tqdm import tqdm

from vpaudit.attack import reconstruct
from vpaudit.base.files import write_table
from vpaudit.base.randomness import KeyedNoise
from vpaudit.priors import network
from vpaudit.privacy.mechanism import Observation
from vpaudit.stages.adversary import Priors
from vpaudit.stages.inputs import read_targets
from vpaudit.study import config as configuration
from vpaudit.study.config import Attack
from vpaudit.study.layout import Layout

NORM = 22.9  # a typical norm of Fashion-MNIST on [-1, 1]: s = NORM / mu, one for all
CALLS = (6, 10, 20)
ONE_SIZE = {"posterior mean": (1,), "fitted few-step": (3, 4, 5, 6)}
REPEATS = 2
UNET = Path(__file__).parents[1] / "resources/priors/cifar10"  # has convolutions, the study's prior has none


def peers_table(config, layout: Layout, images: int) -> pd.DataFrame:
    """method, ours, mu, asked, calls (really made), seconds (of all images), image, metric, value."""
    from vpaudit.measure.meter import Meter

    prior = Priors(config, layout, "cpu").network
    x, _, ids = (v[:images] for v in read_targets(layout))
    meter = Meter(config, x, ids)
    jobs = [(m, c) for m in [*peers.OURS, *peers.PEERS] for c in ONE_SIZE.get(m, CALLS)]
    tables = []
    for mu in config.mechanism.mu:
        s = NORM / mu
        keys = [(config.seed, "benchmark", i, f"mu={mu:g}") for i in ids.tolist()]
        y = x + s * KeyedNoise(keys, x.shape[1:])()
        times, found = {job: [] for job in jobs}, {}
        for repeat in range(REPEATS):
            for job in tqdm(jobs if repeat % 2 == 0 else jobs[::-1], desc=f"mu={mu:g}", disable=None, ncols=79):
                begun = time.perf_counter()
                output, counted = peers.run(job[0], prior, y, s, job[1])
                times[job].append(time.perf_counter() - begun)
                if repeat == 0:
                    found[job] = counted, meter.against_targets(output, meter.features(output))
        for (name, asked), (counted, values) in found.items():
            about = {"method": name, "ours": name in peers.OURS, "mu": mu, "asked": asked, "calls": counted}
            tables.append(meter.rows(values, **about, seconds=min(times[name, asked])))
    return pd.concat(tables, ignore_index=True)


def overhead_table(config, layout: Layout) -> pd.DataFrame:
    """images, calls, seconds, forward_seconds (bare, for the same calls), ratio, memory_mib."""
    prior = Priors(config, layout, "cpu").network
    rows = []
    for count in (64, 128, 512):
        x = torch.zeros(count, *prior.shape)
        ids = torch.arange(count)
        ones = torch.ones(count, dtype=torch.float64)
        seen = Observation(x, ones, ones * 2.0, ids, ids % prior.num_classes, "overhead", 10.0)
        for calls in (6, 20):
            for kind, options in {"ddim": {}, "multistep": {"order": 2, "eta": 1.0}}.items():
                settings = Attack(name=kind, kind=kind, steps=calls, **options)
                pairs = []
                for _ in range(3):
                    begun = time.perf_counter()
                    reconstruct.reconstruct(seen, prior, settings, 0)
                    between = time.perf_counter()
                    bare_forward(prior, count, calls)
                    pairs.append((between - begun, time.perf_counter() - between))
                whole, bare = np.median(pairs, axis=0)
                ratios = [a / b for a, b in pairs]
                memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                rows.append({"attack": kind, "images": count, "calls": calls, "seconds": whole})
                rows[-1] |= {"forward_seconds": bare, "ratio": float(np.median(ratios)), "peak_mib": memory}
                rows[-1] |= {"ratio_low": min(ratios), "ratio_high": max(ratios), "n": len(pairs)}
    return pd.DataFrame(rows)


def network_table(config, layout: Layout) -> pd.DataFrame:
    """prior, precision, how, set_up_seconds, calls_per_second (of one image, median), ratio to float32 as it is, n."""
    tables = [_speeds(layout.prior, ("as it is", "compiled")), _speeds(UNET, ("as it is", "channels last", "compiled"))]
    return pd.concat(tables, ignore_index=True)


def _speeds(folder: Path, ways: tuple[str, ...]) -> pd.DataFrame:
    """The ways in alternating order."""
    variants = {}
    for precision, how in itertools.product(("float32", "bfloat16"), ways):
        prior = network.load(folder, precision=precision)
        if how == "channels last":
            prior.network.to(memory_format=torch.channels_last)
        if how == "compiled":
            prior.compile()
        begun = time.perf_counter()
        bare_forward(prior, prior.rows, 2)
        variants[precision, how] = (prior, time.perf_counter() - begun)
    times = {key: [] for key in variants}
    for repeat in range(15):
        for key in list(variants) if repeat % 2 else list(variants)[::-1]:
            begun = time.perf_counter()
            bare_forward(variants[key][0], variants[key][0].rows, 2)
            times[key].append((time.perf_counter() - begun) / 2 / variants[key][0].rows)
    base = np.array(times["float32", "as it is"])
    rows = []
    for (precision, how), seconds in times.items():
        gains = base / np.array(seconds)
        low, high = np.quantile(gains, (0.025, 0.975))
        row = {"prior": folder.name, "precision": precision, "how": how}
        row |= {"set_up_seconds": variants[precision, how][1], "calls_per_second": 1 / np.median(seconds)}
        rows.append({**row, "ratio": float(np.median(gains)), "low": low, "high": high, "n": len(seconds)})
    return pd.DataFrame(rows)


@torch.inference_mode()
def bare_forward(prior, count: int, calls: int) -> None:
    """The network alone, in the batches that the prior uses."""
    x, t = torch.zeros(prior.rows, *prior.shape), torch.full((prior.rows,), 300.0)
    for _ in range(calls * -(-count // prior.rows)):
        prior(x, t, None)


def memory_of(method: str, config_path: str, images: int) -> float:
    """MiB by which the peak of a fresh process grows while the method runs, beyond prior and images."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_memory, (method, config_path, images))


def _memory(method, config_path, images):
    config = configuration.load(config_path)
    prior = Priors(config, Layout(config), "cpu").network
    y = torch.randn(images, *prior.shape)
    peers.run("posterior mean", prior, y[:1], 1.0, 1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peers.run(method, prior, y, 1.0, ONE_SIZE.get(method, (6,))[-1])
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("peers", "overhead", "network"))
    parser.add_argument("--config", required=True, help="resolved configuration, results/<study>/config.yaml")
    parser.add_argument("--out", required=True, help="Parquet file to write")
    parser.add_argument("--images", type=int, default=64, help="targets, >= 2 (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: %(default)s)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    config = configuration.load(arguments.config)
    if arguments.what != "peers":
        table = {"overhead": overhead_table, "network": network_table}[arguments.what](config, Layout(config))
    else:
        table = peers_table(config, Layout(config), arguments.images)
        memory = {m: memory_of(m, arguments.config, 512) for m in [*peers.OURS, *peers.PEERS]}
        table["memory_mib"] = table["method"].map(memory)
    write_table(Path(arguments.out), table)
    print(table.to_string())


if __name__ == "__main__":
    main()
