"""Does it help to denoise gradients inside DP-SGD? Real classifiers, several budgets, paired seeds, equal tuning.

Private, public, validation and test images are disjoint. Each method has the same number of tries for its own settings,
judged on validation images with a seed of their own; tuning is counted in runs and not in privacy, for all alike. The
model `features` is logistic regression on frozen features (AlexNet's last layer, pooled), on a data set of its own;
they are centred and scaled by the public images, for all methods alike. Runs are kept in work/, so that an interrupted
experiment goes on.
"""

import concurrent.futures
import multiprocessing
import time
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import nn

from vpaudit import data
from vpaudit.base import files, pixels
from vpaudit.base.randomness import generator
from vpaudit.experiments.bench import Bench, progress
from vpaudit.experiments.dpsgd import training
from vpaudit.experiments.dpsgd.settings import TRIES, settings_of
from vpaudit.measure import distances
from vpaudit.privacy.training import Filter
from vpaudit.study import depends
from vpaudit.study.checkpoints import Journal
from vpaudit.study.config import Config
from vpaudit.study.layout import Layout

PUBLIC, VALIDATION = 1000, 500  # images at most; of fewer than 6,000 a sixth and a twelfth
REFRESH, MINI_BATCHES = 20, 64
UPSAMPLED = 64  # pixels a side of what the frozen network sees
PUBLIC_METHODS = ("wiener", "subspace", "diffusion")
TUNING_SEED = 1000
CODE = depends.code_of_module("experiments.dpsgd.run")


@dataclass(frozen=True)
class Combination:
    """What is tuned and then run over all seeds."""

    model: str
    method: str
    public: str
    epsilon: float
    tries: tuple[dict, ...]


def run(bench: Bench) -> pd.DataFrame:
    """Columns model, method, public ("none", "same", "shifted"), epsilon, seed, lr, setting, seconds; test accuracy.

    Spread over as many processes as torch has threads here.
    """
    settings = settings_of(bench.config)
    tables = []
    for model in settings.models:
        name, splits = _splits(bench.config, model)
        if "diffusion" in settings.methods and model == "logistic":
            for public in ("same", "shifted"):
                _train_denoiser(bench.config, bench.layout, splits, public)
        jobs = [
            (bench.config, bench.layout, splits, Combination(model, method, public, epsilon, tuple(TRIES[method])))
            for method in settings.methods
            for public in (("same", "shifted") if method in PUBLIC_METHODS else ("none",))
            for epsilon in settings.epsilons
            if method != "diffusion" or model == "logistic"  # whose weight gradients are images
        ]
        rows = [row for rows in _in_processes(jobs, f"dpsgd {model}", torch.get_num_threads()) for row in rows]
        tables.append(pd.DataFrame(rows).assign(metric="accuracy", dataset=name))
    return pd.concat(tables, ignore_index=True)


def _in_processes(jobs: list[tuple], title: str, workers: int):
    """Results of `_combination` in order of the jobs."""
    if workers == 1:
        yield from (_combination(*job) for job in progress(jobs, title))
        return
    context = multiprocessing.get_context("spawn")  # a fork would inherit torch's locked threads
    with concurrent.futures.ProcessPoolExecutor(workers, context, torch.set_num_threads, (1,)) as pool:
        yield from progress(pool.map(_combination, *zip(*jobs)), title)


def _combination(config: Config, layout: Layout, splits: dict[str, training.Records], job: Combination) -> list[dict]:
    """Rows of all seeds, at the settings that did best on the validation images."""
    tried = [(_cached(config, layout, splits, job, TUNING_SEED, o, "validation"), o) for o in job.tries]
    best = max(tried, key=lambda pair: pair[0][0])[1]
    rows = []
    for seed in range(settings_of(config).seeds):
        accuracy, seconds = _cached(config, layout, splits, job, seed, best, "test")
        row = {"model": job.model, "method": job.method, "public": job.public, "epsilon": job.epsilon, "seed": seed}
        row |= {"lr": best["lr"], "setting": float(best.get("gain", best.get("rank", np.nan)))}
        rows.append({**row, "seconds": seconds, "value": accuracy})
    return rows


def _splits(config: Config, model: str) -> tuple[str, dict[str, training.Records]]:
    """The data set's name; images (or their features) and labels of the disjoint splits."""
    settings = settings_of(config)
    name = settings.features_data if model == "features" else config.data.name
    train, test, digits = data.load(name, "train"), data.load(name, "test"), data.load("digits", "train")
    order = torch.randperm(len(train.images), generator=generator(config.seed, "dpsgd split")).numpy()
    public, validation = min(PUBLIC, len(order) // 6), min(VALIDATION, len(order) // 12)
    cuts = np.split(order[: public + validation + settings.private], [public, public + validation])
    found = {
        split: _records(train.images[np.sort(places)], train.labels[np.sort(places)])
        for split, places in zip(("same", "validation", "private"), cuts)
    }
    found["test"] = _records(test.images, test.labels)
    x, y = _records(digits.images[:PUBLIC], digits.labels[:PUBLIC])
    shape = found["test"][0].shape[1:]
    found["shifted"] = nn.functional.interpolate(x, size=shape[-2:]).expand(-1, shape[0], -1, -1), y
    return name, _features(found) if model == "features" else found


def _records(images: np.ndarray, labels: np.ndarray) -> training.Records:
    return pixels.from_uint8(images), torch.from_numpy(labels.astype(np.int64))


def _features(splits: dict[str, training.Records]) -> dict[str, training.Records]:
    """Frozen features (n, D, 1, 1) instead of images, centred and scaled by those of the public images."""
    features = distances.Features()
    made = {
        name: torch.from_numpy(
            np.concatenate([features(nn.functional.interpolate(p, UPSAMPLED, mode="bilinear")) for p in x.split(512)])
        )
        for name, (x, _) in splits.items()
    }
    mean, std = made["same"].mean(0), made["same"].std(0).clamp_min(1e-3)
    return {name: (((v - mean) / std).float()[:, :, None, None], splits[name][1]) for name, v in made.items()}


def _cached(config, layout, splits, job: Combination, seed: int, options: dict, judge: str) -> tuple[float, float]:
    """Accuracy and seconds of one run, from work/ where the same code made it before."""
    settings = settings_of(config)
    about = (job.model, job.method, job.public, job.epsilon, seed, judge, settings.steps, len(splits["private"][0]))
    key = {"run": about, "options": options, "seed": config.seed, "data": [config.data.name, settings.features_data]}
    if job.method == "diffusion":
        key |= {"prior": settings.gradient_prior.model_dump(mode="json")}

    def run() -> np.ndarray:
        begun = time.process_time()  # one thread a run: not what other processes take
        rule = training.Training.within(epsilon=job.epsilon, lr=options["lr"], steps=settings.steps)
        network = training.MODELS[job.model](tuple(splits["private"][0].shape[1:]), 10, seed)
        chosen = _filter(config, layout, splits, job, rule, options, seed)
        training.train(network, splits["private"], rule, chosen, (config.seed, "dpsgd", seed))
        assert rule.epsilon <= job.epsilon * (1 + 1e-9), "the accounting does not depend on the filter"
        return np.array([training.accuracy(network, splits[judge]), time.process_time() - begun])

    return tuple(Journal(layout.work / "dpsgd", CODE, [])(key, run).tolist())


def _filter(config, layout, splits, job: Combination, rule: training.Training, options, seed: int) -> Filter:
    if job.method == "plain":
        return training.plain
    if job.method == "kalman":
        return training.Kalman(options["gain"])
    if job.method == "diffusion":
        return _diffusion(config, layout, splits, job.public)
    records = splits[job.public]
    batch = min(len(records[0]), round(rule.sample_rate * len(splits["private"][0])))
    key = (config.seed, "public gradients", seed)
    gradients = training.PublicGradients(records, rule.max_grad_norm, batch, MINI_BATCHES, REFRESH, key)
    return training.Wiener(gradients) if job.method == "wiener" else training.Subspace(gradients, options["rank"])


def _train_denoiser(config: Config, layout: Layout, splits: dict[str, training.Records], public: str) -> None:
    """Train on gradients met while training on public data alone, each class's weights one channel; kept in work/."""
    from vpaudit.priors.batches import Labelled
    from vpaudit.priors.train import Trainer

    work = _denoiser_folder(layout, public)
    if (work / "denoiser.pt").exists():
        return
    images, scale = public_gradients(config, splits[public], tuple(splits["private"][0].shape[1:]))
    labels = torch.zeros(len(images), dtype=torch.int64)
    trainer = Trainer(Labelled(images, labels, 1, "cpu"), settings_of(config).gradient_prior, work)
    trainer.resume()
    trainer.run()
    with files.atomic(work / "denoiser.pt") as temporary:
        torch.save({"weights": trainer.average().state_dict(), "scale": scale}, temporary)


def _denoiser_folder(layout: Layout, public: str):
    return layout.work / "dpsgd" / f"prior-{public}"


def _diffusion(config: Config, layout: Layout, splits: dict[str, training.Records], public: str) -> training.Diffusion:
    """The trained denoiser as a filter."""
    from vpaudit.priors.network import NetworkPrior
    from vpaudit.priors.train import build_network, build_scheduler

    settings, shape = settings_of(config).gradient_prior, (10, *splits["private"][0].shape[2:])
    state = torch.load(_denoiser_folder(layout, public) / "denoiser.pt", weights_only=True)
    network = build_network(shape, 1, settings).requires_grad_(False)
    network.load_state_dict(state["weights"])
    low, high = settings.sigma_range
    prior = NetworkPrior(network, build_scheduler(), low, high, rows=1)
    return training.Diffusion(lambda x, s: prior.denoise(x, s.clamp(low, high)), shape, state["scale"])


def public_gradients(config: Config, records, shape, runs: int = 8, every: int = 2) -> tuple[torch.Tensor, float]:
    """(n, 10, H, W) mini-batch gradients over their root mean square, and that; from plain SGD on public data."""
    found, weights, rule = [], shape[0] * shape[1] * shape[2] * 10, training.Training(1.0)
    for seed in range(runs):
        model = training.logistic(shape, 10, seed)
        rng = generator(config.seed, "public run", seed)
        for step in range(settings_of(config).steps):
            pick = torch.randperm(len(records[0]), generator=rng)[: len(records[0]) // 2]
            part = records[0][pick], records[1][pick]
            gradient = training.clipped_gradients(model, part, rule.max_grad_norm).mean(dim=0)
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
