"""Does it help to denoise gradients inside DP-SGD? Real classifiers, five budgets, paired seeds, equal tuning.

Private, public, validation and test images are disjoint. Each method has the same number of tries for its own settings,
judged on validation images with a seed of their own; tuning is counted in runs and not in privacy, for all alike.
"""

import itertools
import json
import time

import numpy as np
import pandas as pd
import torch
from torch import nn

from vpaudit import data, dpsgd, io, ranges
from vpaudit.experiments.bench import Bench, progress
from vpaudit.rng import generator

PUBLIC, VALIDATION = 1000, 500
REFRESH, MINI_BATCHES = 20, 64
TRIES = {
    "plain": [{"lr": lr} for lr in (0.5, 1, 2, 4, 8, 16)],
    "kalman": [{"lr": lr, "gain": k} for lr, k in itertools.product((2, 6, 18), (0.1, 0.3))],
    "wiener": [{"lr": lr} for lr in (1, 2, 4, 8, 16, 32)],
    "subspace": [{"lr": lr, "rank": k} for lr, k in itertools.product((1, 4, 16), (8, 24))],
    "diffusion": [{"lr": lr} for lr in (1, 2, 4, 8, 16, 32)],
}
PUBLIC_METHODS = ("wiener", "subspace", "diffusion")
TUNING_SEED = 1000


def run(bench: Bench) -> pd.DataFrame:
    """Columns model, method, public ("none", "same", "shifted"), epsilon, seed, lr, setting, seconds; test accuracy."""
    settings, splits = bench.config.experiments.dpsgd, _splits(bench)
    jobs = [
        (model, method, public, epsilon)
        for model in settings.models
        for method in TRIES
        for public in (("same", "shifted") if method in PUBLIC_METHODS else ("none",))
        for epsilon in settings.epsilons
        if method != "diffusion" or model == "logistic"  # whose weight gradients are images
    ]
    rows = []
    for model, method, public, epsilon in progress(jobs, "dpsgd"):
        tried = [
            (_cached(bench, splits, model, method, public, epsilon, TUNING_SEED, o, "validation"), o)
            for o in TRIES[method]
        ]
        best = max(tried, key=lambda pair: pair[0]["accuracy"])[1]
        for seed in range(settings.seeds):
            done = _cached(bench, splits, model, method, public, epsilon, seed, best, "test")
            row = {"model": model, "method": method, "public": public, "epsilon": epsilon, "seed": seed}
            row |= {"lr": best["lr"], "setting": float(best.get("gain", best.get("rank", np.nan)))}
            rows.append({**row, "seconds": done["seconds"], "value": done["accuracy"]})
    return pd.DataFrame(rows).assign(metric="accuracy", dataset=bench.config.data.name)


def _splits(bench: Bench) -> dict[str, dpsgd.Records]:
    name, seed = bench.config.data.name, bench.config.seed
    train, test = data.load(name, "train"), data.load(name, "test")
    x, y = ranges.from_uint8(train.images), torch.from_numpy(train.labels.astype(np.int64))
    order = torch.randperm(len(x), generator=generator(seed, "dpsgd split"))
    public, validation = order[:PUBLIC], order[PUBLIC : PUBLIC + VALIDATION]
    private = order[PUBLIC + VALIDATION :]
    digits = data.load("digits", "train")
    shifted = torch.nn.functional.interpolate(ranges.from_uint8(digits.images[:PUBLIC]), size=x.shape[-2:])
    return {
        "private": (x[private], y[private]),
        "same": (x[public], y[public]),
        "shifted": (shifted, torch.from_numpy(digits.labels[:PUBLIC].astype(np.int64))),
        "validation": (x[validation], y[validation]),
        "test": (ranges.from_uint8(test.images), torch.from_numpy(test.labels.astype(np.int64))),
    }


def _cached(bench, splits, model, method, public, epsilon, seed, options, judge) -> dict:
    """One run, kept in work/ so that an interrupted experiment goes on."""
    steps = bench.config.experiments.dpsgd.steps
    name = "-".join(str(v) for v in (model, method, public, epsilon, seed, steps, *options.values()))
    path = bench.layout.work / "dpsgd" / f"{name}.json"
    if not path.exists():
        begun = time.perf_counter()
        training = dpsgd.Training(epsilon=epsilon, lr=options["lr"], steps=steps)
        x = splits["private"][0]
        network = dpsgd.MODELS[model](tuple(x.shape[1:]), 10, seed)
        gradient_filter = _filter(bench, splits, method, public, training, options, seed, network)
        report = dpsgd.train(network, splits["private"], training, gradient_filter, (bench.config.seed, "dpsgd", seed))
        assert report["epsilon"] <= epsilon * (1 + 1e-9), "the accounting does not depend on the filter"
        found = {"accuracy": dpsgd.accuracy(network, splits[judge]), "seconds": time.perf_counter() - begun, **report}
        io.write_json(path, found)
    return json.loads(path.read_text())


def _filter(bench, splits, method, public, training, options, seed, network: nn.Module) -> dpsgd.Filter:
    if method == "plain":
        return dpsgd.plain
    if method == "kalman":
        return dpsgd.Kalman(options["gain"])
    records = splits[public]
    if method == "diffusion":
        return _diffusion(bench, records, public, training, tuple(splits["private"][0].shape[1:]))
    batch = min(len(records[0]), round(training.sample_rate * len(splits["private"][0])))
    key = (bench.config.seed, "public gradients", seed)
    gradients = dpsgd.PublicGradients(records, training.max_grad_norm, batch, MINI_BATCHES, REFRESH, key)
    return dpsgd.Wiener(gradients) if method == "wiener" else dpsgd.Subspace(gradients, options["rank"])


def _diffusion(bench, records, public, training, shape) -> dpsgd.Diffusion:
    """A denoiser trained on gradients met while training on public data alone, each class's weights one channel."""
    from vpaudit.priors.network import NetworkPrior
    from vpaudit.priors.train import Trainer, build_scheduler

    settings = bench.config.experiments.dpsgd
    images, scale = public_gradients(bench, records, training, shape)
    trainer = Trainer(
        images, torch.zeros(len(images), dtype=torch.int64), 1, settings.gradient_prior,
        bench.layout.work / "dpsgd" / f"prior-{public}",
    )  # fmt: skip
    trainer.resume()
    trainer.run()
    low, high = settings.gradient_prior.sigma_range
    prior = NetworkPrior(trainer.average(), build_scheduler(), low, high, rows=1)
    return dpsgd.Diffusion(lambda x, s: prior.denoise(x, s.clamp(low, high)), (10, *shape[1:]), scale)


def public_gradients(bench, records, training, shape, runs: int = 8, every: int = 2) -> tuple[torch.Tensor, float]:
    """(n, 10, H, W) mini-batch gradients over their root mean square, and that; from plain SGD on public data."""
    found, weights = [], shape[0] * shape[1] * shape[2] * 10
    for seed in range(runs):
        model = dpsgd.logistic(shape, 10, seed)
        rng = generator(bench.config.seed, "public run", seed)
        for step in range(training.steps):
            pick = torch.randperm(len(records[0]), generator=rng)[: len(records[0]) // 2]
            part = records[0][pick], records[1][pick]
            gradient = dpsgd.clipped_gradients(model, part, training.max_grad_norm).mean(dim=0)
            if step % every == 0:
                found.append(gradient[:weights].view(10, *shape[1:]))
            with torch.no_grad():
                start = 0
                for parameter in model.parameters():
                    parameter -= 2.0 * gradient[start : start + parameter.numel()].view_as(parameter)
                    start += parameter.numel()
    stacked = torch.stack(found)
    scale = float(stacked.square().mean().sqrt())
    return stacked / scale, scale
