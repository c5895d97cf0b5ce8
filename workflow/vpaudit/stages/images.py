"""The stages that handle images, one function each: read the stage before, call the library, write a file whole.

Rules call these through `python -m vpaudit <stage>`; all thought is in the modules they call.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

import vpaudit
from vpaudit import attack, consistency, io, mechanism, ranges
from vpaudit.config import Config
from vpaudit.errors import VpauditError
from vpaudit.journal import Journal
from vpaudit.layout import Layout
from vpaudit.mechanism import Mechanism, Observation
from vpaudit.rng import generator
from vpaudit.stages.tables import write_table

PACKAGE = Path(vpaudit.__file__).parent
ATTACK_CODE = ["attack.py", "samplers.py", "mechanism.py", "rng.py", "ranges.py"]
PRIOR_CODE = ["priors/base.py", "priors/network.py", "priors/gaussian.py", "priors/schedule.py"]


def targets(config: Config, layout: Layout) -> None:
    """data -> targets.npz: the attacked test images."""
    from vpaudit import data

    if config.data.folder:
        images = data.load_folder(config.data.folder)
    else:
        images = data.load(config.data.name, "test")
    chosen = data.select(images, config.data.images, config.seed)
    with io.atomic(layout.targets) as temporary:
        np.savez(
            temporary,
            images=chosen.images,
            labels=chosen.labels,
            ids=chosen.ids,
            class_names=np.array(list(chosen.class_names)),
        )


def read_targets(layout: Layout) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Images float32 (N, C, H, W) in [-1, 1], labels and ids int64 (N,)."""
    with _open(layout.targets) as file:
        labels, ids = (torch.from_numpy(file[k].astype(np.int64)) for k in ("labels", "ids"))
        return ranges.from_uint8(file["images"]), labels, ids


def privatize(config: Config, layout: Layout, mu: str) -> None:
    """targets.npz -> observations/mu=<mu>.npz: what DP-SGD lets out."""
    x, labels, ids = read_targets(layout)
    release = mechanism.RELEASES[config.mechanism.release]
    rule = Mechanism(float(mu), config.mechanism.max_grad_norm)
    seen = release(x, ids, labels, rule, config.dataset, config.seed)
    with io.atomic(layout.observation(mu)) as temporary:
        np.savez(
            temporary,
            y=seen.y.numpy(),
            lam=seen.lam.numpy(),
            s=seen.s.numpy(),
            sigma=seen.sigma,
            mu=seen.mu,
            ids=seen.ids.numpy(),
            labels=seen.labels.numpy(),
        )


def read_observation(config: Config, path: Path) -> Observation:
    with _open(path) as file:
        return Observation(
            torch.from_numpy(file["y"]),
            torch.from_numpy(file["lam"]),
            float(file["sigma"]),
            torch.from_numpy(file["ids"]),
            torch.from_numpy(file["labels"]),
            config.dataset,
            float(file["mu"]),
        )


def reconstruct(config: Config, layout: Layout, mu: str, device: str = "auto") -> None:
    """observations/mu=<mu>.npz -> reconstructions/mu=<mu>.npz: every attack, conditioning and draw."""
    seen = read_observation(config, layout.observation(mu))
    priors = _Priors(config, layout, device)
    journal = Journal(
        layout.work / "reconstruct" / f"mu={mu}",
        [PACKAGE / name for name in ATTACK_CODE + PRIOR_CODE],
        [layout.observation(mu), *priors.files()],
    )
    results: dict[str, list[np.ndarray]] = {}
    jobs = [(a, c, d) for a in config.attacks for c in a.conditioning for d in range(a.draws)]
    total = len(seen) * sum(a.steps for a, _, _ in jobs)
    with tqdm(total=total, desc=f"mu={mu}", unit="call", disable=None, ascii=True, ncols=79) as bar:
        for settings, conditioning, draw in jobs:
            shards = []
            for start in range(0, len(seen), config.shard_size):
                part = seen[start : start + config.shard_size]
                prior = priors.of(settings.kind)

                def compute(part=part, prior=prior, settings=settings, conditioning=conditioning, draw=draw):
                    return attack.reconstruct(part, prior, settings, config.seed, conditioning, draw).cpu().numpy()

                plain = settings.model_dump(exclude={"draws", "conditioning"})
                key = [plain, conditioning, draw, config.seed, config.prior.precision, part.ids.tolist()]
                shards.append(journal(key, compute))
                bar.update(len(part) * settings.steps)
            results.setdefault(f"{prior_name(settings.kind, conditioning)}.{settings.name}", []).append(
                np.concatenate(shards)
            )
    stacked = {name: np.stack(draws) for name, draws in results.items()}
    bad = [name for name, array in stacked.items() if not np.isfinite(array).all()]
    if bad:
        raise VpauditError(f"{bad[0]} at mu={mu} gave values that are not finite", "check the prior's weights")
    with io.atomic(layout.reconstruction(mu)) as temporary:
        np.savez(temporary, **stacked)


def prior_name(kind: str, conditioning: str) -> str:
    """What stands in the tables' `prior` column."""
    return {"raw": "none", "wiener": "gaussian"}.get(kind, conditioning)


class _Priors:
    """The priors of a study, read when first needed."""

    def __init__(self, config: Config, layout: Layout, device: str):
        self.config, self.layout, self.cache = config, layout, {}
        self.device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device

    def files(self) -> list[Path]:
        return sorted(p for folder in (self.layout.prior, self.layout.gaussian) for p in folder.rglob("*.safetensors"))

    def of(self, kind: str):
        if kind == "raw":
            return None
        if kind not in self.cache:
            from vpaudit.priors import gaussian, network

            if kind == "wiener":
                self.cache[kind] = gaussian.GaussianPrior.load(self.layout.gaussian)
            else:
                self.cache.setdefault(
                    "network", network.load(self.layout.prior, self.device, self.config.prior.precision)
                )
                self.cache[kind] = self.cache["network"]
        return self.cache[kind]


def prior(config: Config, layout: Layout, until: int | None = None, adopt: bool = False) -> None:
    """training images -> results/<study>/prior: train, or go on training, and write weights and card."""
    from vpaudit import data
    from vpaudit.priors import card, train

    images, test = data.load(config.data.name, "train", full=True), data.load(config.data.name, "test")
    trainer = train.Trainer(
        ranges.from_uint8(images.images),
        torch.from_numpy(images.labels.astype(np.int64)),
        len(images.class_names),
        config.prior.training,
        layout.work / "prior",
    )
    if trainer.resume(adopt):
        print(f"going on from step {trainer.step} of {config.prior.training.steps}", flush=True)
    trainer.run(until)
    held_out = ranges.from_uint8(test.images[:512])
    card.export(trainer, layout.trained_prior, held_out, {"data": f"{config.data.name}, train split"})


def fit_gaussian(name: str, folder: str) -> None:
    """training images -> the Gaussian prior's folder."""
    from vpaudit import data
    from vpaudit.priors.gaussian import GaussianPrior

    images = data.load(name, "train", full=True)
    fitted = GaussianPrior.fit(ranges.from_uint8(images.images))
    fitted.save(folder, {"data": f"{name}, train split", "images": len(images.images), "shape": list(fitted.shape)})


def baseline(config: Config, layout: Layout) -> None:
    """targets.npz -> parts/baselines/mu=unrelated.parquet: what can be had without any release.

    Test images against other test images (test_vs_test), and the mean training image against each (mean_image).
    """
    from vpaudit.priors.gaussian import GaussianPrior

    x, _, ids = read_targets(layout)
    meter = _Meter(config, x)
    rows = []
    for number in range(config.evaluate.unrelated):
        other = other_targets(len(x), config.seed, number)
        values = meter.compare(x, x[other], meter.target_features, _pick(meter.target_features, other))
        rows += meter.rows(values, ids, kind="test_vs_test", prior="", attack="", mu=np.nan)
    mean = GaussianPrior.load(layout.gaussian).mean.clamp(ranges.LOW, ranges.HIGH).expand_as(x)
    values = meter.compare(mean, x, meter.features(mean), meter.target_features)
    rows += meter.rows(values, ids, kind="mean_image", prior="", attack="", mu=np.nan)
    write_table(layout.part("baselines", "unrelated"), _mean_over_others(pd.concat(rows)))


def evaluate(config: Config, layout: Layout, mu: str) -> None:
    """reconstructions/mu=<mu>.npz -> parts of metrics, baselines and consistency at this mu."""
    x, _, ids = read_targets(layout)
    meter = _Meter(config, x)
    metrics, baselines, agreements = [], [], []
    with _open(layout.reconstruction(mu)) as file:
        names = tqdm(file.files, desc=f"mu={mu}", unit="attack", disable=None, ascii=True, ncols=79)
        for name in names:
            draws = torch.from_numpy(file[name])
            prior, kind = name.split(".")
            tag = {"prior": prior, "attack": kind, "mu": float(mu)}
            features = [meter.features(d) for d in draws]
            achieved = [meter.compare(d, x, f, meter.target_features) for d, f in zip(draws, features)]
            for draw, values in enumerate(achieved):
                metrics += meter.rows(values, ids, knowledge="lambda_sigma", rounds=1, draw=draw, **tag)
            for number in range(config.evaluate.unrelated):
                other = other_targets(len(x), config.seed, number)
                values = meter.compare(draws[0], x[other], features[0], _pick(meter.target_features, other))
                baselines += meter.rows(values, ids, kind="reconstruction_vs_other", **tag)
            if len(draws) > 1:
                agreements += _agreement_rows(meter, draws, features, achieved, ids, tag)
    write_table(layout.part("metrics", mu), pd.concat(metrics))
    write_table(layout.part("baselines", mu), _mean_over_others(pd.concat(baselines)))
    columns = ["dataset", "image", "prior", "attack", "mu", "metric", "agreement", "achieved"]
    empty = pd.DataFrame({c: pd.Series(dtype="str" if c in columns[:1] + columns[2:4] else float) for c in columns})
    write_table(layout.part("consistency", mu), pd.concat(agreements) if agreements else empty)


def _agreement_rows(meter, draws, features, achieved, ids, tag) -> list[pd.DataFrame]:
    """Agreement (from draws alone) beside what was achieved (against the target)."""
    found = consistency.agreement(draws, lambda j, k: meter.compare(draws[j], draws[k], features[j], features[k]))
    rows = []
    for metric, values in found.items():
        true = [a[metric if metric in a else "mse"] for a in achieved]
        reached = torch.stack(true).mean(0)
        reached = reached.sqrt() if metric == "pixel_std" else reached
        rows.append(
            pd.DataFrame(
                {
                    "dataset": meter.dataset,
                    "image": ids.numpy(),
                    **tag,
                    "metric": metric,
                    "agreement": values.numpy(),
                    "achieved": reached.numpy(),
                }
            )
        )
    return rows


def other_targets(count: int, seed: int, number: int) -> torch.Tensor:
    """For each of `count` images the place of another one: a random cyclic shift of a random order, (count,) int64."""
    rng = generator(seed, "other targets", number)
    order = torch.randperm(count, generator=rng)
    partner = torch.empty_like(order)
    partner[order] = order.roll(1)
    return partner


class _Meter:
    """The study's metrics, with the targets' LPIPS features kept."""

    def __init__(self, config: Config, x: torch.Tensor):
        from vpaudit import metrics

        self.library, self.dataset = metrics, config.dataset
        self.names = [name for name in config.evaluate.metrics if not name.startswith("lpips")]
        self.lpips_name = next((name for name in config.evaluate.metrics if name.startswith("lpips")), None)
        self.lpips = None
        if self.lpips_name:
            try:
                self.lpips = metrics.Lpips()
            except metrics.BackboneMissing as error:
                print(f"{self.lpips_name} left out: {error}", flush=True)
        self.target_features = self.features(x)

    def features(self, images: torch.Tensor):
        return self.lpips.features(images) if self.lpips else None

    def compare(self, a, b, a_features, b_features) -> dict[str, torch.Tensor]:
        values = self.library.compute(self.names, a, b)
        if self.lpips:
            values[self.lpips_name] = self.lpips.distance(a_features, b_features)
        return values

    def rows(self, values: dict[str, torch.Tensor], ids: torch.Tensor, **columns) -> list[pd.DataFrame]:
        base = {"dataset": self.dataset, "image": ids.numpy(), **columns}
        return [pd.DataFrame({**base, "metric": name, "value": v.numpy()}) for name, v in values.items()]


def _pick(features, order: torch.Tensor):
    return None if features is None else [f[order] for f in features]


def _mean_over_others(table: pd.DataFrame) -> pd.DataFrame:
    keys = [c for c in table.columns if c != "value"]
    return table.groupby(keys, dropna=False, sort=False, as_index=False)["value"].mean()


def _open(path: Path):
    try:
        return np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise VpauditError(f"{path} does not exist", "run `snakemake` (or `make replicate`), which makes it") from error
    except (OSError, ValueError) as error:
        raise VpauditError(f"{path} cannot be read: {error}", "delete it and run the same command again") from error
