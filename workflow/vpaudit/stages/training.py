"""From images to a prior's folder: network, Gaussian prior, few-step solvers, card. Interrupted, it goes on."""

import json
import time
from pathlib import Path

import numpy as np
import torch

from vpaudit import data
from vpaudit.base import files
from vpaudit.base.denoiser import shape_for_card
from vpaudit.base.errors import VpauditError
from vpaudit.base.randomness import KeyedNoise, generator
from vpaudit.data import near
from vpaudit.priors import card, folder, network, recipe
from vpaudit.priors.batches import SIDES, Labelled, Scales, scaled
from vpaudit.priors.train import Trainer
from vpaudit.sampling import few_step
from vpaudit.study.config import FewStep, Training

HELD_BACK = 0.05  # of the images
MOST_HELD_BACK = 512  # of them, at most, that the card's errors are measured on
FEW_HELD_BACK = 128  # the same on a CPU at any size, where convolutions take long
FEWEST = 20  # images
SOLVERS = FewStep(calls=[3, 4, 6], evaluations=0, levels=10)
SOLVER_SHARE = 0.1  # of the time, for the few-step solvers
SHAPING = ("architecture", "residual", "width", "layers", "heads", "levels", "patch_size")  # settings of a network
# Of training that begins with another prior's network: gentler than from random weights.
GOING_ON = {"lr": 3e-4, "ema_decay": 0.999, "warmup_steps": 100, "optimizer": "adamw", "batch_size": 32}
FLOW = 60 + sum(SOLVERS.calls)  # network evaluations on an image, at each noise that solvers are fitted at
SOLVER_IMAGES = (8, 256)  # fewest and most


def distinct(images: data.ImageSet, held_back: data.ImageSet | None = None) -> data.ImageSet:
    """Of near duplicates, copies among them, the first; none that has one among images that are held back."""
    prints = near.fingerprints(images.images)
    kept = ~near.repeated(prints)
    if held_back is not None:
        kept &= ~near.among(prints, near.fingerprints(held_back.images))
    if not kept.all():
        print(
            f"{len(images)} images, {np.count_nonzero(~kept)} of them near duplicates of others: left out", flush=True
        )
    return images[np.flatnonzero(kept)]


def split(images: data.ImageSet, seed: int = 0) -> tuple[data.ImageSet, data.ImageSet]:
    """Those to train on, and a twentieth that is held back, keyed by the seed."""
    if len(images) < FEWEST:
        raise VpauditError(f"{len(images)} different images are too few to train on", f"give at least {FEWEST}")
    order = torch.randperm(len(images), generator=generator(seed, "held back")).numpy()
    held = max(4, round(HELD_BACK * len(images)))
    return images[np.sort(order[held:])], images[np.sort(order[:held])]


def tensors(images: data.ImageSet) -> tuple[torch.Tensor, torch.Tensor]:
    """uint8 (N, C, H, W), and int64 labels, 0 where there are none."""
    stack = torch.from_numpy(images.images)
    stack = stack[:, None] if stack.ndim == 3 else stack.permute(0, 3, 1, 2)
    return stack.contiguous(), torch.from_numpy(images.labels.astype(np.int64)).clamp_min(0)


def labelled(images: data.ImageSet, device: str, conditional: bool) -> Labelled:
    """A training source of images of one shape."""
    classes = len(images.class_names) if conditional else 0
    if conditional and (classes < 2 or images.labels.min() < 0):
        raise VpauditError(f"{images.name}: no classes to tell the images apart", "drop --labels, or sort into folders")
    return Labelled(*tensors(images), classes, device)


def any_size(pools: list[tuple[data.ImageSet, data.ImageSet]], device: str) -> tuple[Scales, torch.Tensor]:
    """A training source of photographs of several sizes, and crops of those of the first pool that are held back."""
    source = Scales([tensors(train)[0] for train, _ in pools], device)
    return source, scaled(tensors(pools[0][1])[0], MOST_HELD_BACK, SIDES[0])


def settings_of(
    work: Path, source, device: str, minutes: float | None, epochs: float | None, begin: Path | None = None, **others
) -> Training:
    """Those that a run in `work` began with, its length as given now; else chosen for this machine and kept there.

    Args:
        begin: a prior's folder; its network is trained on, so there is none to choose.
    """
    path = work / "settings.json"
    seen = {} if epochs is None else {"images_seen": round(epochs * len(source))}
    if path.exists():
        return Training(**files.read_json(path)).model_copy(update={"minutes": minutes, **seen})
    if begin is None:
        chosen = recipe.choose(source, device, minutes, epochs, **others)
    else:
        chosen = _going_on(begin, source, device).model_copy(update={"minutes": minutes, **seen, **others})
    files.write_json(path, chosen.model_dump(mode="json"))
    return chosen


def _going_on(begin: Path, source: Labelled | Scales, device: str) -> Training:
    """Settings for a network that is there.

    Raises:
        VpauditError: it was not trained here, or for images of another size or other classes.
    """
    known = folder.read(begin).card
    if "training" not in known:
        raise VpauditError(f"the card of {begin} does not say how it was trained", "begin with a prior trained here")
    theirs, ours = (known["shape"], known["num_classes"]), (shape_for_card(source.shape), source.num_classes)
    if theirs != ours:
        raise VpauditError(
            f"{begin} is of {theirs[0]} and {theirs[1]} classes, the images are {ours[0]} of {ours[1]}",
            "give images of its size and with its classes, or train anew",
        )
    settings = {name: known["training"][name] for name in SHAPING if name in known["training"]}
    precision = recipe.precision(settings["architecture"], device)
    return Training(**GOING_ON, **settings, precision=precision, compile=False)


def train(
    source: Labelled | Scales,
    held_out: torch.Tensor,
    settings: Training,
    work: Path,
    out: Path,
    about: dict,
    device: str = "cpu",
    until: int | None = None,
    adopt: bool = False,
    begin: Path | None = None,
) -> Trainer:
    """Train, or go on training, and write weights, Gaussian prior and card into `out`.

    Args:
        held_out: float32 (N, C, H, W) in [-1, 1], none of them trained on.
        work: folder of checkpoints; until: stop at this step; adopt: go on from other settings' checkpoint.
        about: what the card says of the data; begin: a prior's folder, whose weights a new run starts from.
    """
    torch.set_float32_matmul_precision("high")
    trainer = Trainer(source, settings, work, device)
    if trainer.resume(adopt):
        print(f"going on from step {trainer.step}, after {trainer.seconds:.0f} s; {trainer.eta()}", flush=True)
    elif begin is not None:
        trainer.begin(folder.load_network(folder.read(begin)))
    if begin is not None:
        about = {**about, "begun_from": {"name": begin.name, "card": folder.read(begin).card}}
    trainer.run(until)
    slow = torch.device(device).type == "cpu" and isinstance(source, Scales)
    card.export(trainer, out, held_out[: FEW_HELD_BACK if slow else MOST_HELD_BACK], about)
    return trainer


def finish(
    source, held_out, settings: Training, work: Path, out: Path, about: dict, device: str, begin: Path | None = None
) -> None:
    """`train`, for more or less time than begun with if need be, then `solve` in a tenth of the time that took."""
    trainer = train(source, held_out, settings, work, out, about, device, adopt=True, begin=begin)
    solve(out, source, settings, device, SOLVER_SHARE * trainer.seconds, about["data"])


def solve(out: Path, source: Labelled | Scales, settings: Training, device: str, seconds: float, about: str) -> None:
    """Fit few-step solvers to a prior that corrects a Gaussian, into its folder, in about `seconds`."""
    model = network.load(out, device, "float32" if device != "cpu" else settings.precision)
    if model.base is None:
        raise VpauditError(f"{out} corrects no Gaussian prior", "train with residual, or run `vpaudit few-step`")
    images = source.some(_affordable(model, source, seconds)).cpu()
    model.rows = min(model.rows, len(images))  # a call of fewer images would be filled up
    low, high = SOLVERS.sigma_range
    sigmas = np.geomspace(low, min(high, model.sigma_max), SOLVERS.levels)

    def noise(sigma: float) -> torch.Tensor:
        return KeyedNoise([(settings.seed, "few step", i, sigma) for i in range(len(images))], images.shape[1:])()

    closed = model.base.to("cpu")
    plans, errors = few_step.fit(
        model.denoise, closed, images, sigmas, SOLVERS.calls, noise, SOLVERS.evaluations, report=lambda text: None
    )
    known = {"images": len(images), "data": about}
    known["rmse"] = {str(n): [round(e, 5) for e in row] for n, row in errors.items()}
    few_step.save(plans, out, known)


def _affordable(model, source, seconds: float) -> int:
    """How many images solvers can be fitted to in so many seconds."""
    x = source.some(model.rows).cpu()
    at = torch.full((len(x),), 1.0)
    model.denoise(x, at)
    begun = time.perf_counter()
    model.denoise(x, at)
    rate = len(x) / (time.perf_counter() - begun)
    return int(min(max(seconds * rate / (SOLVERS.levels * FLOW), SOLVER_IMAGES[0]), SOLVER_IMAGES[1]))


def summary(out: Path) -> str:
    """What a person wants to know of a new prior, from its card."""
    about = json.loads((out / "card.json").read_text(encoding="utf-8"))
    names = ("held_out", "gaussian", "training", "training_gaussian")
    rows = zip(*(about[f"{name}_mse_by_sigma"].items() for name in names))
    lines = ["noise s  held-out error  of the Gaussian  ratio  on training images  ratio"]
    for (s, own), (_, closed), (_, seen), (_, usual) in rows:
        lines.append(f"{s:>7}  {own:14.5f}  {closed:15.5f}  {own / closed:5.3f}  {seen:18.5f}  {seen / usual:5.3f}")
    near = about["memorisation"]
    lines.append(
        f"nearest training image: {near['nearest_training_image_of_samples']:g} grey levels from samples, "
        f"{near['nearest_training_image_of_held_out']:g} from held-out images; "
        + ("the network has memorised some" if near["memorised"] else "no sign that it memorised any")
    )
    return "\n".join(lines)
