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
from vpaudit import attack, fewstep, hardware, io, knowledge, mechanism, parts, ranges
from vpaudit.config import Config, Knowledge
from vpaudit.errors import VpauditError
from vpaudit.journal import Journal
from vpaudit.layout import Layout
from vpaudit.mechanism import Mechanism, Observation
from vpaudit.names import MEASUREMENTS
from vpaudit.rng import KeyedNoise, generator
from vpaudit.stages.tables import write_table

PACKAGE = Path(vpaudit.__file__).parent
ATTACK_CODE = ["attack.py", "samplers.py", "fewstep.py", "knowledge.py", "mechanism.py", "rng.py", "ranges.py"]
REFINED = {"images": 512, "held_out": 256, "noises": 48}  # that few-step solvers are refined on, and judged by
PRIOR_CODE = ["priors/base.py", "priors/network.py", "priors/gaussian.py", "priors/spectral.py", "priors/schedule.py"]


def targets(config: Config, layout: Layout) -> None:
    """data -> targets.npz: the attacked test images; of a folder also skipped.csv, what could not be used."""
    from vpaudit import data

    if config.data.folder:
        about = config.data
        most = max(data.MOST, about.images)
        reading = data.read_local(about.folder, about.size, about.grey, about.under, about.colour, config.seed, most)
        print("\n".join(reading.lines()), flush=True)
        with io.atomic(layout.skipped) as temporary:
            pd.DataFrame(reading.skipped, columns=["file", "reason"]).to_csv(temporary, index=False)
        selected = data.select(reading.images, about.images, config.seed)
    else:
        selected = data.draw(config.data.name, "test", config.data.images, config.seed)
    with io.atomic(layout.targets) as temporary:
        np.savez(
            temporary,
            images=selected.images,
            labels=selected.labels,
            ids=selected.ids,
            class_names=np.array(list(selected.class_names)),
        )


def read_targets(layout: Layout, images: slice = slice(None)) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Images float32 (N, C, H, W) in [-1, 1], labels and ids int64 (N,); all, or those at some places."""
    with _open(layout.targets) as file:
        labels, ids = (torch.from_numpy(file[k][images].astype(np.int64)) for k in ("labels", "ids"))
        return ranges.from_uint8(file["images"][images]), labels, ids


def privatize(config: Config, layout: Layout, part: str) -> None:
    """targets.npz -> observations/mu=<part>.npz: what DP-SGD lets out."""
    wanted = parts.find(config, part)
    x, labels, ids = read_targets(layout, wanted.images)
    release = mechanism.RELEASES[config.mechanism.release]
    rule = Mechanism(float(wanted.mu), config.mechanism.max_grad_norm)
    seen = release(x, ids, labels, rule, config.dataset, config.seed)
    with io.atomic(layout.observation(part)) as temporary:
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


def reconstruct(config: Config, layout: Layout, part: str, device: str = "auto") -> None:
    """observations/mu=<part>.npz -> reconstructions/mu=<part>.npz: every attack, conditioning and draw."""
    seen = read_observation(config, layout.observation(part))
    priors = Priors(config, layout, device)
    journal = Journal(
        layout.work / "reconstruct" / f"mu={part}",
        [PACKAGE / name for name in ATTACK_CODE + PRIOR_CODE],
        [layout.observation(part), *priors.files()],
    )
    results: dict[str, list[np.ndarray]] = {}
    jobs = [(a, c, d) for a in config.attacks for c in a.conditioning for d in range(a.draws)]
    if (seen.labels < 0).any():  # images of a folder have no class
        jobs = [job for job in jobs if job[1] == "unconditional"]
    total = len(seen) * sum(a.steps for a, _, _ in jobs)
    with tqdm(total=total, desc=f"mu={part}", unit="call", disable=None, ascii=True, ncols=79) as bar:
        for settings, conditioning, draw in jobs:
            finished = []
            for start in range(0, len(seen), config.shard_size):
                some = seen[start : start + config.shard_size]

                def compute(some=some, settings=settings, conditioning=conditioning, draw=draw):
                    prior, seen = priors.of(settings.kind), priors.believe(some, settings)
                    made = attack.reconstruct(seen, prior, settings, config.seed, conditioning, draw).cpu()
                    if not torch.isfinite(made).all():
                        what = f"{settings.name} ({conditioning}) at mu={part}"
                        raise VpauditError(f"{what} gave values that are not finite", "check the prior's weights")
                    return ranges.packed(made.numpy(), config.jobs.store)

                plain = settings.model_dump(exclude={"draws", "conditioning"})
                key = [plain, conditioning, draw, config.seed, config.prior.precision, config.prior.rows]
                finished.append(journal([*key, config.jobs.store, some.ids.tolist()], compute))
                bar.update(len(some) * settings.steps)
            results.setdefault(f"{prior_name(settings.kind, conditioning)}.{settings.name}", []).append(
                np.concatenate(finished)
            )
    stacked = {name: np.stack(draws) for name, draws in results.items()}
    with io.atomic(layout.reconstruction(part)) as temporary:
        np.savez(temporary, **stacked)
    if not config.jobs.keep_checkpoints:
        journal.drop()


def prior_name(kind: str, conditioning: str) -> str:
    """What stands in the tables' `prior` column."""
    return {"raw": "none", "wiener": "gaussian"}.get(kind, conditioning)


class Priors:
    """The priors of a study, each read once, when first needed."""

    def __init__(self, config: Config, layout: Layout, device: str):
        self.config, self.layout = config, layout
        self.device = chosen(device)

    def files(self) -> list[Path]:
        weights = (p for folder in (self.layout.prior, self.layout.gaussian) for p in folder.rglob("*.safetensors"))
        return sorted([*weights, *self.layout.prior.glob(fewstep.FILE)])

    @cached_property
    def network(self):
        from vpaudit.priors import network

        model = network.load(self.layout.prior, self.device, self.config.prior.precision, self.config.prior.rows)
        if model.few_step:
            model.gaussian = self.gaussian.to(model.device)
        return model

    @cached_property
    def gaussian(self):
        from vpaudit.priors import gaussian

        return gaussian.load(self.layout.gaussian)

    def believe(self, seen: Observation, settings) -> Observation:
        """The observation as an adversary of this attack's knowledge takes it."""
        if settings.knowledge == Knowledge():
            return seen
        norm, clip = knowledge.typical_norm(self.gaussian), self.config.mechanism.max_grad_norm
        return knowledge.believe(seen, settings.knowledge, self.of(settings.kind), norm, clip, self.config.seed)

    def of(self, kind: str):
        """The prior that a kind of attack asks; None for `raw`."""
        return {"raw": lambda: None, "wiener": lambda: self.gaussian}.get(kind, lambda: self.network)()


def prior(config: Config, layout: Layout, until: int | None = None, adopt: bool = False, device: str = "auto") -> None:
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
        sharp=sharp_images(config, images.images),
        device=chosen(device),
    )
    if trainer.resume(adopt):
        print(f"going on from step {trainer.step} of {config.prior.training.steps}", flush=True)
    trainer.run(until)
    held_out = ranges.from_uint8(test.images[:512])
    sharp = "".join(f" and {name}, reduced" for name in config.prior.training.sharp)
    card.export(trainer, layout.trained_prior, held_out, {"data": f"{config.data.name}, train split{sharp}"})


def sharp_images(config: Config, like: np.ndarray) -> torch.Tensor | None:
    """Reduced cuts of larger images, for noise below which what a compression did to the training images shows."""
    from vpaudit import data

    settings, cuts = config.prior.training, []
    for name in settings.sharp:
        images, share = data.load(name, "train").images, -(-settings.sharp_images // len(settings.sharp))
        cuts.append(data.as_sharp_as(data.reduced(images, like.shape[1], share, (settings.seed, name)), like))
    return ranges.from_uint8(np.concatenate(cuts)) if cuts else None


def few_step(config: Config, prior: str, device: str = "cpu") -> None:
    """prior's folder, Gaussian prior, training images -> its few_step.json: fitted solvers of few calls."""
    from vpaudit import data
    from vpaudit.priors import gaussian, network

    settings, shipped = config.prior.few_step, data.load(config.data.name, "train")
    images = ranges.from_uint8(data.select(shipped, settings.images, config.seed).images)
    model = network.load(prior, device, config.prior.precision)
    if config.experiments.compile:
        model.compile()

    def noise(sigma):
        return KeyedNoise([(config.seed, "few step", i, sigma) for i in range(len(images))], images.shape[1:])()

    low, high = settings.sigma_range
    sigmas = np.geomspace(low, min(high, model.sigma_max), settings.levels)
    bar = tqdm(total=len(sigmas) * len(settings.calls), desc="few-step", disable=None, ascii=True, ncols=79)

    def progress(text):
        print(text, flush=True)
        bar.update()

    closed = gaussian.load(config.prior.gaussian)
    plans, errors = fewstep.fit(
        model.denoise, closed, images, sigmas, settings.calls, noise, settings.evaluations, report=progress
    )
    about = {"images": len(images), "data": f"{config.data.name}, train split"}
    fewstep.save(plans, prior, {**about, "rmse": {str(n): [round(e, 5) for e in row] for n, row in errors.items()}})


def refine_few_step(config: Config, prior: str, steps: int, device: str = "auto", seconds: float | None = None) -> None:
    """prior's folder with its few_step.json, Gaussian prior, training images -> a better few_step.json."""
    from vpaudit import data, refine
    from vpaudit.priors import gaussian, network

    settings, device = config.prior.few_step, chosen(device)
    plans, content = fewstep.load(prior), io.read_json(Path(prior) / fewstep.FILE)
    shipped = data.load(config.data.name, "train")
    drawn = data.select(shipped, REFINED["images"] + REFINED["held_out"], config.seed + 1).images
    order = torch.randperm(len(drawn), generator=generator(config.seed, "refine"))
    shuffled = ranges.from_uint8(drawn)[order].to(device)
    torch.set_float32_matmul_precision("high")
    model = network.load(prior, device, "float32", rows=1)  # no call is filled up
    closed = gaussian.load(config.prior.gaussian).to(device)
    low, high = settings.sigma_range
    sigmas = np.geomspace(low, min(high, model.sigma_max), REFINED["noises"])
    better, about = refine.all_of(
        model.denoise_rows, closed, plans, shuffled[REFINED["held_out"] :], shuffled[: REFINED["held_out"]], sigmas,
        steps, seconds or float("inf"), config.seed,
    )  # fmt: skip
    about["device"] = torch.cuda.get_device_name(device) if device.startswith("cuda") else "CPU"
    fewstep.save(better, prior, {k: v for k, v in content.items() if k != "plans"} | {"refined": about})


def fit_gaussian(config: Config, folder: str) -> None:
    """training images -> the Gaussian prior's folder."""
    from vpaudit.priors import gaussian

    images = training_images(config)
    fitted = gaussian.fit(ranges.from_uint8(images.images))
    about = {"data": f"{images.name}, train split", "images": len(images), "shape": list(fitted.shape)}
    fitted.save(folder, about)


def training_images(config: Config):
    """Those of the study's card, or of `data.train` where it attacks a folder."""
    from vpaudit import data

    chosen = config.data
    if not chosen.folder:
        return data.load(chosen.name, "train", full=True)
    if not chosen.train:
        raise VpauditError(f"no training images to go with {chosen.folder}", "set data.train, or prior.gaussian")
    return data.load_local(chosen.train, chosen.size, chosen.grey, chosen.train_under, chosen.colour)


def overlap(config: Config, layout: Layout) -> None:
    """targets.npz, training images, the prior's card -> overlap.json."""
    from vpaudit.data import ImageSet
    from vpaudit.data import overlap as module

    with _open(layout.targets) as file:
        targets = ImageSet(config.dataset, "test", file["images"], file["labels"], file["ids"], ())
    training = training_images(config) if config.data.train or not config.data.folder else None
    card = layout.prior / "card.json"
    found = module.examine(targets, training, io.read_json(card) if card.exists() else {})
    io.write_json(layout.results / "overlap.json", found)
    print(module.text(found), flush=True)


def baseline(config: Config, layout: Layout, device: str = "auto") -> None:
    """targets.npz, Gaussian prior -> parts/baselines/mu=unrelated.parquet: what can be had without any release."""
    from vpaudit import evaluate as measure
    from vpaudit.priors import gaussian

    mean = gaussian.load(layout.gaussian).mean.clamp(ranges.LOW, ranges.HIGH)
    every = slice(0, config.data.images)
    rows = [measure.without_release(meter, mean) for _, meter in _meters(config, layout, every, device)]
    write_table(layout.part("baselines", "unrelated"), pd.concat(rows, ignore_index=True))


def domain(config: Config, layout: Layout, device: str = "auto") -> None:
    """targets.npz, prior -> domain.parquet: how much worse the prior denoises these images than its own kind."""
    from vpaudit import domain as distance

    x, _, ids = read_targets(layout)
    network = Priors(config, layout, device).network
    card = layout.prior_card
    if "held_out_mse_by_sigma" in card:
        kind, count = f"{card['held_out_images']} held-out images", x[0].numel()
        usual = {float(s): count * v for s, v in card["held_out_mse_by_sigma"].items()}
        measured = distance.errors(network, x, [(config.seed, i) for i in ids.tolist()], usual)
    else:
        from vpaudit.experiments.bench import Bench

        keys, kind = list(range(distance.SAMPLES)), f"{distance.SAMPLES} samples of the prior"
        bench = Bench(config, layout, config.mechanism.mu[0], len(x), device, compiled=False)
        own = bench.sample_prior(keys, distance.STEPS, 2)
        usual = {s: v.mean() for s, v in distance.errors(network, own, [("own", k) for k in keys]).items()}
        measured = distance.errors(network, x, [(config.seed, i) for i in ids.tolist()])
    rows = [
        pd.DataFrame({"image": ids.numpy(), "s": s, "value": value, "reference": usual[s], "reference_kind": kind})
        for s, value in measured.items()
    ]
    write_table(layout.table("domain"), pd.concat(rows).assign(dataset=config.dataset))


def evaluate(config: Config, layout: Layout, part: str, device: str = "auto") -> None:
    """reconstructions/mu=<part>.npz -> parts of metrics, baselines and consistency."""
    from vpaudit import evaluate as measure

    wanted = parts.find(config, part)
    found = {"metrics": [], "baselines": [], "consistency": []}
    with _open(layout.reconstruction(part)) as file:
        made = {name: file[name] for name in file.files}
    with tqdm(total=len(made) * len(wanted), desc=f"mu={part}", disable=None, ascii=True, ncols=79) as bar:
        for places, meter in _meters(config, layout, wanted.images, device):
            for name, draws in made.items():
                prior, attack_name = name.split(".")
                tag = {"prior": prior, "attack": attack_name, "mu": float(wanted.mu)}
                known = next(a.knowledge.label for a in config.attacks if a.name == attack_name)
                some = torch.from_numpy(ranges.unpacked(draws[:, places]))
                for table, rows in measure.measure(meter, some, tag, known).items():
                    found[table].append(rows)
                bar.update(some.shape[1])
    for table, rows in found.items():
        write_table(layout.part(table, part), pd.concat(rows, ignore_index=True))


def _meters(config: Config, layout: Layout, images: slice, device: str):
    """(places within `images`, Meter of these), a bounded number at a time; LPIPS is built once."""
    from vpaudit import evaluate as measure

    with _open(layout.targets) as file:
        arrays, ids = file["images"], torch.from_numpy(file["ids"].astype(np.int64))
    lpips = measure.backbone(config, ranges.from_uint8(arrays[:1]).shape, chosen(device))
    everyone = [measure.other_targets(len(arrays), config.seed, k) for k in range(config.evaluate.unrelated)]
    step = measure.at_once(arrays.shape[1:3])
    for start in range(images.start, images.stop, step):
        own = slice(start, min(start + step, images.stop))
        others = [ranges.from_uint8(arrays[order[own].numpy()]) for order in everyone]
        meter = measure.Meter(config, ranges.from_uint8(arrays[own]), ids[own], others, lpips, chosen(device))
        yield slice(own.start - images.start, own.stop - images.start), meter


def chosen(device: str) -> str:
    """ "auto" is a GPU of this process's own where there are GPUs, else the CPU."""
    if device != "auto":
        return device
    return f"cuda:{hardware.claim_gpu(torch.cuda.device_count())}" if torch.cuda.is_available() else "cpu"


def experiment(config: Config, layout: Layout, name: str, mu: str | None = None, device: str = "auto") -> None:
    """targets.npz, priors -> experiments/parts/<name>/mu=<mu>.parquet; without a mu experiments/<name>.parquet."""
    from vpaudit import experiments
    from vpaudit.experiments.bench import Bench

    if (mu is None) != (name in MEASUREMENTS):
        raise VpauditError(f"experiment {name}: {'--mu is missing' if mu is None else 'has no mu'}", "see --help")
    count = experiments.images_of(name, config.experiments.images)
    bench = Bench(config, layout, float(mu or 1.0), count, device)
    write_table(layout.experiment(name, mu), experiments.run(name, bench))


def _open(path: Path):
    try:
        return np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise VpauditError(f"{path} does not exist", "run `snakemake` (or `make replicate`), which makes it") from error
    except (OSError, ValueError) as error:
        raise VpauditError(f"{path} cannot be read: {error}", "delete it and run the same command again") from error
