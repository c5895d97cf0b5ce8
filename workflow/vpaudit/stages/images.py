"""The stages that handle images, one function each: read the stage before, call the library, write a file whole.

Rules call these through `python -m vpaudit <stage>`; all thought is in the modules they call.
"""

from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

import vpaudit
from vpaudit import attack, fewstep, io, knowledge, mechanism, ranges
from vpaudit.config import Config, Knowledge
from vpaudit.errors import VpauditError
from vpaudit.journal import Journal
from vpaudit.layout import Layout
from vpaudit.mechanism import Mechanism, Observation
from vpaudit.names import MEASUREMENTS
from vpaudit.rng import KeyedNoise
from vpaudit.stages.tables import write_table

PACKAGE = Path(vpaudit.__file__).parent
ATTACK_CODE = ["attack.py", "samplers.py", "fewstep.py", "knowledge.py", "mechanism.py", "rng.py", "ranges.py"]
PRIOR_CODE = ["priors/base.py", "priors/network.py", "priors/gaussian.py", "priors/schedule.py"]


def targets(config: Config, layout: Layout) -> None:
    """data -> targets.npz: the attacked test images; of a folder also skipped.csv, what could not be used."""
    from vpaudit import data

    if config.data.folder:
        about = config.data
        reading = data.read_local(about.folder, about.size, about.grey, about.under, about.colour, config.seed)
        print("\n".join(reading.lines()), flush=True)
        with io.atomic(layout.skipped) as temporary:
            pd.DataFrame(reading.skipped, columns=["file", "reason"]).to_csv(temporary, index=False)
        images = reading.images
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
            sigma=seen.sigma.numpy(),
            mu=seen.mu,
            ids=seen.ids.numpy(),
            labels=seen.labels.numpy(),
        )


def read_observation(config: Config, path: Path) -> Observation:
    with _open(path) as file:
        return Observation(
            torch.from_numpy(file["y"]),
            torch.from_numpy(file["lam"]),
            torch.from_numpy(file["sigma"]),
            torch.from_numpy(file["ids"]),
            torch.from_numpy(file["labels"]),
            config.dataset,
            float(file["mu"]),
        )


def reconstruct(config: Config, layout: Layout, mu: str, device: str = "auto") -> None:
    """observations/mu=<mu>.npz -> reconstructions/mu=<mu>.npz: every attack, conditioning and draw."""
    seen = read_observation(config, layout.observation(mu))
    priors = Priors(config, layout, device)
    journal = Journal(
        layout.work / "reconstruct" / f"mu={mu}",
        [PACKAGE / name for name in ATTACK_CODE + PRIOR_CODE],
        [layout.observation(mu), *priors.files()],
    )
    results: dict[str, list[np.ndarray]] = {}
    jobs = [(a, c, d) for a in config.attacks for c in a.conditioning for d in range(a.draws)]
    if (seen.labels < 0).any():  # images of a folder have no class
        jobs = [job for job in jobs if job[1] == "unconditional"]
    total = len(seen) * sum(a.steps for a, _, _ in jobs)
    with tqdm(total=total, desc=f"mu={mu}", unit="call", disable=None, ascii=True, ncols=79) as bar:
        for settings, conditioning, draw in jobs:
            shards = []
            for start in range(0, len(seen), config.shard_size):
                part = seen[start : start + config.shard_size]

                def compute(part=part, settings=settings, conditioning=conditioning, draw=draw):
                    prior, seen = priors.of(settings.kind), priors.believe(part, settings)
                    return attack.reconstruct(seen, prior, settings, config.seed, conditioning, draw).cpu().numpy()

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


class Priors:
    """The priors of a study, each read once, when first needed."""

    def __init__(self, config: Config, layout: Layout, device: str):
        self.config, self.layout = config, layout
        self.device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device

    def files(self) -> list[Path]:
        weights = (p for folder in (self.layout.prior, self.layout.gaussian) for p in folder.rglob("*.safetensors"))
        return sorted([*weights, *self.layout.prior.glob(fewstep.FILE)])

    @cached_property
    def network(self):
        from vpaudit.priors import network

        return network.load(self.layout.prior, self.device, self.config.prior.precision)

    @cached_property
    def gaussian(self):
        from vpaudit.priors.gaussian import GaussianPrior

        return GaussianPrior.load(self.layout.gaussian)

    def believe(self, seen: Observation, settings) -> Observation:
        """The observation as an adversary of this attack's knowledge takes it."""
        if settings.knowledge == Knowledge():
            return seen
        norm, clip = knowledge.typical_norm(self.gaussian), self.config.mechanism.max_grad_norm
        return knowledge.believe(seen, settings.knowledge, self.of(settings.kind), norm, clip, self.config.seed)

    def of(self, kind: str):
        """The prior that a kind of attack asks; None for `raw`."""
        return {"raw": lambda: None, "wiener": lambda: self.gaussian}.get(kind, lambda: self.network)()


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


def few_step(config: Config, prior: str, device: str = "cpu") -> None:
    """prior's folder, training images -> its few_step.json: fitted solvers of few calls."""
    from vpaudit import data
    from vpaudit.priors import network

    settings, shipped = config.prior.few_step, data.load(config.data.name, "train")
    images = ranges.from_uint8(data.select(shipped, settings.images, config.seed).images)
    model = network.load(prior, device, config.prior.precision)

    def noise(sigma):
        return KeyedNoise([(config.seed, "few step", i, sigma) for i in range(len(images))], images.shape[1:])()

    low, high = settings.sigma_range
    sigmas = np.geomspace(low, min(high, model.sigma_max), settings.levels)
    bar = tqdm(total=len(sigmas) * len(settings.calls), desc="few-step", disable=None, ascii=True, ncols=79)

    def progress(text):
        print(text, flush=True)
        bar.update()

    plans, errors = fewstep.fit(
        model.denoise, images, sigmas, settings.calls, noise, settings.evaluations, report=progress
    )
    about = {"images": len(images), "data": f"{config.data.name}, train split"}
    fewstep.save(plans, prior, {**about, "rmse": {str(n): [round(e, 5) for e in row] for n, row in errors.items()}})


def fit_gaussian(name: str, folder: str) -> None:
    """training images -> the Gaussian prior's folder."""
    from vpaudit import data
    from vpaudit.priors.gaussian import GaussianPrior

    images = data.load(name, "train", full=True)
    fitted = GaussianPrior.fit(ranges.from_uint8(images.images))
    fitted.save(folder, {"data": f"{name}, train split", "images": len(images.images), "shape": list(fitted.shape)})


def baseline(config: Config, layout: Layout) -> None:
    """targets.npz, Gaussian prior -> parts/baselines/mu=unrelated.parquet: what can be had without any release."""
    from vpaudit import evaluate as measure
    from vpaudit.priors.gaussian import GaussianPrior

    x, _, ids = read_targets(layout)
    mean = GaussianPrior.load(layout.gaussian).mean.clamp(ranges.LOW, ranges.HIGH)
    table = measure.without_release(measure.Meter(config, x, ids), mean)
    write_table(layout.part("baselines", "unrelated"), table)


def domain(config: Config, layout: Layout, device: str = "auto") -> None:
    """targets.npz, prior -> domain.parquet: how much worse the prior denoises these images than its own kind."""
    from vpaudit import domain as distance

    x, _, ids = read_targets(layout)
    network = Priors(config, layout, device).network
    card = layout.prior_card
    if "held_out_mse_by_sigma" in card:
        kind, pixels = f"{card['held_out_images']} held-out images", x[0].numel()
        usual = {float(s): pixels * v for s, v in card["held_out_mse_by_sigma"].items()}
        measured = distance.errors(network, x, [(config.seed, i) for i in ids.tolist()], usual)
    else:
        from vpaudit.experiments.bench import Bench

        keys, kind = list(range(distance.SAMPLES)), f"{distance.SAMPLES} samples of the prior"
        own = Bench(config, layout, config.mechanism.mu[0], len(x), device).sample_prior(keys, distance.STEPS, 2)
        usual = {s: v.mean() for s, v in distance.errors(network, own, [("own", k) for k in keys]).items()}
        measured = distance.errors(network, x, [(config.seed, i) for i in ids.tolist()])
    rows = [
        pd.DataFrame({"image": ids.numpy(), "s": s, "value": value, "reference": usual[s], "reference_kind": kind})
        for s, value in measured.items()
    ]
    write_table(layout.table("domain"), pd.concat(rows).assign(dataset=config.dataset))


def evaluate(config: Config, layout: Layout, mu: str) -> None:
    """reconstructions/mu=<mu>.npz -> parts of metrics, baselines and consistency at this mu."""
    from vpaudit import evaluate as measure

    x, _, ids = read_targets(layout)
    meter = measure.Meter(config, x, ids)
    parts = {"metrics": [], "baselines": [], "consistency": []}
    with _open(layout.reconstruction(mu)) as file:
        for name in tqdm(file.files, desc=f"mu={mu}", unit="attack", disable=None, ascii=True, ncols=79):
            prior, attack_name = name.split(".")
            tag = {"prior": prior, "attack": attack_name, "mu": float(mu)}
            known = next(a.knowledge.label for a in config.attacks if a.name == attack_name)
            for table, rows in measure.measure(meter, torch.from_numpy(file[name]), tag, known).items():
                parts[table].append(rows)
    for table, rows in parts.items():
        write_table(layout.part(table, mu), pd.concat(rows, ignore_index=True))


def experiment(config: Config, layout: Layout, name: str, mu: str | None = None, device: str = "auto") -> None:
    """targets.npz, priors -> parts/experiments/<name>/mu=<mu>.parquet; without a mu experiments/<name>.parquet."""
    from vpaudit import experiments
    from vpaudit.experiments.bench import Bench

    if (mu is None) != (name in MEASUREMENTS):
        raise VpauditError(f"experiment {name}: {'--mu is missing' if mu is None else 'has no mu'}", "see --help")
    bench = Bench(config, layout, float(mu or 1.0), device=device)
    write_table(layout.experiment(name, mu), experiments.run(name, bench))


def _open(path: Path):
    try:
        return np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise VpauditError(f"{path} does not exist", "run `snakemake` (or `make replicate`), which makes it") from error
    except (OSError, ValueError) as error:
        raise VpauditError(f"{path} cannot be read: {error}", "delete it and run the same command again") from error
