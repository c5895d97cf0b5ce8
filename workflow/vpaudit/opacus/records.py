"""A recorded training: a folder with one file for each recorded step, and the auditor's files apart from it.

    run.json                            what holds for the whole run
    fixed.safetensors                   parameters that are not trained, and buffers
    released/step-00000100.safetensors  what the adversary sees: `Released`
    private/step-00000100.safetensors   what only the auditor may know: `Batch`; readable by its owner alone

Each file is written whole or not at all, so a run that is killed leaves every finished record readable.
"""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from vpaudit.base import files
from vpaudit.base.errors import VpauditError

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Setting:
    """What the adversary is told of a step.

    Attributes:
        step: counted from 0, in steps that changed the weights.
        noise_multiplier: sigma / C >= 0; max_grad_norm: C > 0, of the whole gradient of a record.
        max_grad_norms: clipping norms of the parameters, one each, where Opacus clips per layer; C is their 2-norm.
        divisor: of the noisy sum, which gives the released gradient: expected batch size times batches accumulated.
        sample_rate: of a step, as accounted; None if Opacus does not account for it.
        history: [(noise multiplier, sample rate, steps)] of Opacus' accountant up to this step.
    """

    step: int
    noise_multiplier: float
    max_grad_norm: float
    max_grad_norms: list[float] | None
    divisor: float
    sample_rate: float | None
    history: list[list[float]]

    @property
    def sigma(self) -> float:
        """Std of the noise on each coordinate of the sum of clipped gradients."""
        return self.noise_multiplier * self.max_grad_norm


@dataclass(frozen=True)
class Released:
    """What the adversary sees of a step: the noisy gradient, and the weights at which it was taken.

    Attributes:
        gradient, weights: by the parameter's name, each of its shape; the gradient as the optimizer got it.
    """

    setting: Setting
    gradient: Tensors
    weights: Tensors

    def noisy_sum(self) -> torch.Tensor:
        """float64 (P,): the sum of the batch's clipped gradients plus noise of std `setting.sigma`."""
        return self.setting.divisor * flat(self.gradient)


@dataclass(frozen=True)
class Batch:
    """What only the auditor may know of a step.

    Attributes:
        norms: (B,) norms of the gradients before clipping; (B, parameters) where Opacus clips per layer.
        images: (B, ...) as the network got them, None if they could not be told from those of other passes.
        labels: int64 (B,) the class whose logit the loss raises, -1 where the loss is no cross-entropy; None as above.
        indices: int64 (B,) in the data set; None if the recorder was given no loader, or one with workers.
    """

    norms: torch.Tensor
    images: torch.Tensor | None
    labels: torch.Tensor | None
    indices: torch.Tensor | None


def joined(batches: list[Batch]) -> Batch:
    """One batch of those of several processes; what is unknown of one of them is left out."""
    columns = [[getattr(batch, column.name) for batch in batches] for column in fields(Batch)]
    return Batch(*(None if any(part is None for part in parts) else torch.cat(parts) for parts in columns))


def flat(tensors: Tensors) -> torch.Tensor:
    """float64 (P,): all of them in their order."""
    return torch.cat([tensor.detach().flatten().double() for tensor in tensors.values()])


class Run:
    """Reads a recorded training.

    Args:
        path: the folder that a `Recorder` wrote.

    Raises:
        VpauditError: no such record, or a damaged one.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        if not (self.path / "run.json").exists():
            raise VpauditError(f"{self.path} holds no recorded training", "give the folder that a Recorder wrote")
        self.about = files.read_json(self.path / "run.json")

    @property
    def steps(self) -> list[int]:
        """Recorded steps, rising."""
        return sorted(int(path.stem.split("-")[1]) for path in (self.path / "released").glob("step-*.safetensors"))

    def released(self, step: int) -> Released:
        """What the adversary sees of this step."""
        tensors, about = read(place(self.path, "released", step))
        parts = {kind: {n: tensors[f"{kind}/{n}"] for n in self.about["parameters"]} for kind in ("gradient", "weight")}
        return Released(Setting(**json.loads(about["setting"])), parts["gradient"], parts["weight"])

    def batch(self, step: int) -> Batch:
        """What only the auditor may know of this step."""
        tensors, _ = read(place(self.path, "private", step))
        return Batch(*(tensors.get(name) for name in ("norms", "images", "labels", "indices")))

    def fixed(self) -> Tensors:
        """Parameters that are not trained, and buffers, by name."""
        return read(self.path / "fixed.safetensors")[0]


def place(path: Path, kind: str, step: int) -> Path:
    """The file of a step; kind: "released" or "private"."""
    return path / kind / f"step-{step:08d}.safetensors"


def write_released(path: Path, released: Released) -> None:
    """One record of what the adversary sees."""
    parts = {"gradient": released.gradient, "weight": released.weights}
    tensors = {f"{kind}/{name}": tensor for kind, part in parts.items() for name, tensor in part.items()}
    setting = {"setting": json.dumps(asdict(released.setting))}
    write(place(path, "released", released.setting.step), tensors, setting)


def write_batch(path: Path, step: int, batch: Batch) -> None:
    """One record of what only the auditor may know, readable by its owner alone."""
    kept = {name: tensor for name, tensor in vars(batch).items() if tensor is not None}
    write(place(path, "private", step), kept, private=True)


def write(path: Path, tensors: Tensors, about: dict[str, str] | None = None, private: bool = False) -> None:
    """A safetensors file, whole or not at all."""
    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with files.atomic(path, private) as temporary:
        save_file(on_cpu, temporary, about)


def read(path: Path) -> tuple[Tensors, dict[str, str]]:
    """Tensors and texts of such a file."""
    try:
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise VpauditError(f"cannot read {path}: {error}", "choose a step of Run.steps, or record it anew") from error
