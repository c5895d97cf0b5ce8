"""Records what a training by Opacus releases, without a change to its loop:

    model, optimizer, loader = PrivacyEngine().make_private(...)
    recorder = Recorder(optimizer, "run.vpaudit", every=100)

Opacus calls one hook after it has clipped, summed and noised, before the weights change: there the released gradient
and the weights are written (`records`). Per-sample norms are taken when Opacus clips, each physical batch of a logical
one in turn (`BatchMemoryManager`, accumulation); images and labels are seen passing through the network. Several
processes (DPDDP) sum their gradients after that hook, and the first of them writes the sum and the images of all.
"""

import inspect
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from opacus import __version__ as opacus_version
from opacus.optimizers import (
    DistributedDPOptimizer,
    DistributedDPOptimizerFastGradientClipping,
    DPOptimizer,
    DPOptimizerFastGradientClipping,
    DPPerLayerOptimizer,
)
from torch.nn.modules.module import register_module_forward_hook

from vpaudit.base import checks, files
from vpaudit.base.errors import VpauditError
from vpaudit.opacus import records

# Opacus' optimizers that are recorded, and the method of each that sees every physical batch.
CLIPS = {
    DPOptimizer: "clip_and_accumulate",
    DPPerLayerOptimizer: "clip_and_accumulate",
    DPOptimizerFastGradientClipping: "accumulate",
    DistributedDPOptimizer: "clip_and_accumulate",
    DistributedDPOptimizerFastGradientClipping: "accumulate",
}
REFUSED = (
    "train with flat or ghost clipping, or per layer in one process, and wrap several processes in Opacus' DPDDP: FSDP "
    "has a part of the gradient in each, and adaptive clipping changes noise and norm from step to step"
)


class Recorder:
    """Keeps what every `every`-th step of a training releases and, apart from it, what only its auditor may know.

    Steps 0, every, 2 every … are recorded, 0 being the first that changes the weights. At the first forward pass the
    recorder states on stderr how much disk each record takes.

    Args:
        optimizer: as `make_private`, `make_private_with_epsilon` (ghost clipping too) or `dp_optimizer` gives it.
        path: a new folder.
        every: >= 1. steps: that the training will take; with it the disk is checked before the first step.
        loader: Opacus' loader without workers; with it the batch's indices in the data set are recorded too.

    Raises:
        VpauditError: an optimizer whose releases would be recorded wrongly (FSDP, adaptive clipping), a folder that
            already holds a run, too little disk.
    """

    def __init__(
        self, optimizer: DPOptimizer, path: str | Path, every: int = 100, steps: int | None = None, loader=None
    ):
        if type(optimizer) not in CLIPS or hasattr(optimizer, "_adjusted_noise_multiplier"):
            raise VpauditError(f"{type(optimizer).__name__} is not recorded", REFUSED)
        self.optimizer, self.path, self.every, self.steps = optimizer, Path(path), int(checks.whole(every=every)), steps
        self.rank, self.processes = getattr(optimizer, "rank", 0), getattr(optimizer, "world_size", 1)
        if self.rank == 0 and (self.path / "run.json").exists():
            raise VpauditError(f"{self.path} already holds a run", "give another name, or delete it")
        self.step = 0
        self._norms, self._passes, self._indices = [], [], []
        self._names: dict[str, torch.nn.Parameter] = {}
        self._order: list[int] = []
        self._search = register_module_forward_hook(self._find)
        self._account = optimizer.step_hook
        if self.processes > 1:
            self._after("reduce_gradients", self._record)
        else:
            optimizer.attach_step_hook(self._released)
        self._before(CLIPS[type(optimizer)], self._take_norms)
        if loader is not None and loader.num_workers == 0:  # workers draw batches ahead of the training
            self._watch_indices(loader.batch_sampler)

    # ------------------------------------------------------------ what is watched

    def _due(self) -> bool:
        return self.step % self.every == 0

    def _find(self, module: torch.nn.Module, inputs, output) -> None:
        """Hook on every module, until the first that holds all trained parameters: the user's network."""
        owned = {id(parameter) for parameter in module.parameters()}
        if all(id(parameter) in owned for parameter in self.optimizer.params):
            self._search.remove()
            if not inputs or not isinstance(inputs[0], torch.Tensor) or not isinstance(output, torch.Tensor):
                raise VpauditError(
                    f"{type(module).__name__} is not called as logits = model(images)",
                    "record a network whose first argument and whose output are tensors",
                )
            module.register_forward_hook(self._passed)
            self._begin(module, inputs[0])
            self._passed(module, inputs, output)

    def _passed(self, module: torch.nn.Module, inputs, output) -> None:
        """Hook on the network: images, and the loss's gradient at their logits, which names the class."""
        if self._due() and module.training and torch.is_grad_enabled():
            seen = {"images": inputs[0].detach()}
            self._passes.append(seen)
            output.register_hook(lambda gradient: seen.update(labels=labels_of(gradient)))

    def _before(self, method: str, watch: Callable[[], None]) -> None:
        called = getattr(self.optimizer, method)
        setattr(self.optimizer, method, lambda: (watch(), called()))

    def _after(self, method: str, watch: Callable[[], None]) -> None:
        called = getattr(self.optimizer, method)
        setattr(self.optimizer, method, lambda: (called(), watch()))

    def _take_norms(self) -> None:
        if self._due():
            self._norms.append(norms(self.optimizer))

    def _watch_indices(self, sampler) -> None:
        """Give this one sampler a class that also tells which indices it drew last."""
        kind, drawn = type(sampler), self._indices

        class Watched(kind):
            def __iter__(self):
                for indices in super().__iter__():
                    drawn[:] = [indices]
                    yield indices

        sampler.__class__ = Watched

    # ------------------------------------------------------------ what is written

    def _begin(self, module: torch.nn.Module, images: torch.Tensor) -> None:
        trained = {id(parameter) for parameter in self.optimizer.params}
        self._names = {name: p for name, p in module.named_parameters() if id(p) in trained}
        places = {id(parameter): place for place, parameter in enumerate(self.optimizer.params)}
        self._order = [places[id(parameter)] for parameter in self._names.values()]  # the optimizer may have another
        if self.rank:
            return
        self._check_disk(images[0].numel() * images.element_size() if len(images) else 0)
        fixed = {n: value for n, value in module.state_dict(keep_vars=True).items() if id(value) not in trained}
        records.write(self.path / "fixed.safetensors", fixed)
        about = {"opacus": opacus_version, "optimizer": type(self.optimizer).__name__, "every": self.every}
        shape = {"image_shape": list(images.shape[1:]), "parameters": list(self._names)}
        files.write_json(self.path / "run.json", about | shape)

    def _check_disk(self, image: int) -> None:
        size = 2 * sum(p.numel() * p.element_size() for p in self.optimizer.params)
        size += int(image * (self.optimizer.expected_batch_size or 1) * self.processes)
        self.path.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.path).free
        count = -(-self.steps // self.every) if self.steps else None
        total = f", {count} of them {size * count / 1e6:.1f} MB" if count else ""
        print(f"{self.path}: {size / 1e6:.1f} MB a record{total}; {free / 1e6:.0f} MB free", file=sys.stderr)
        if size * (count or 1) > free:
            raise VpauditError(f"{self.path} needs {size * (count or 1) / 1e6:.0f} MB", "free disk, or raise `every`")

    def _released(self, optimizer: DPOptimizer) -> None:
        """Opacus' step hook: first its accountant, as without a recorder."""
        if self._account:
            self._account(optimizer)
        self._record()

    def _record(self) -> None:
        if self._due() and self._names:
            batches = gathered(self._batch(), self.rank, self.processes)
            if self.rank == 0:
                records.write_batch(self.path, self.step, records.joined(batches))  # first: a release has its batch
                gradient = {name: parameter.grad for name, parameter in self._names.items()}
                records.write_released(self.path, records.Released(self._setting(), gradient, self._names))
        self._norms, self._passes = [], []
        self.step += 1

    def _setting(self) -> records.Setting:
        optimizer, (accountant, sample_rate) = self.optimizer, accounting_of(self._account)
        accumulated = optimizer.accumulated_iterations
        batch = optimizer.expected_batch_size * accumulated * self.processes  # Opacus has that of one process
        divisor = batch if optimizer.loss_reduction == "mean" else 1
        limits = getattr(optimizer, "max_grad_norms", None)
        return records.Setting(
            self.step, optimizer.noise_multiplier, optimizer.max_grad_norm,
            limits and [float(limits[place]) for place in self._order], divisor,
            None if sample_rate is None else sample_rate * accumulated,
            [list(entry) for entry in accountant.history] if accountant else [],
        )  # fmt: skip

    def _batch(self) -> records.Batch:
        found = torch.cat(self._norms)
        images, labels = (
            [seen[kind] for seen in self._passes if kind in seen] for kind in ("images", "labels")
        )  # passes without a backward pass have no labels
        count = sum(map(len, labels))
        complete = count == len(found) and len(images) == len(labels)
        indices = torch.as_tensor(self._indices[0], dtype=torch.int64) if self._indices else None
        return records.Batch(
            found if found.ndim == 1 else found[:, self._order],
            torch.cat(images) if complete else None,
            torch.cat(labels) if complete else None,
            indices if indices is not None and len(indices) == len(found) else None,
        )


def gathered(batch: records.Batch, rank: int, processes: int) -> list[records.Batch]:
    """The batches of all processes, in the first of them; nothing in the others."""
    if processes == 1:
        return [batch]
    found: list[records.Batch] = [batch] * processes if rank == 0 else []
    torch.distributed.gather_object(batch, found or None)
    return found


def norms(optimizer: DPOptimizer) -> torch.Tensor:
    """(B,) norms of the per-sample gradients that Opacus is about to clip; (B, parameters) if it clips per layer."""
    if isinstance(optimizer, DPOptimizerFastGradientClipping):
        each = [parameter._norm_sample for parameter in optimizer.params]
    else:
        each = [sample.reshape(len(sample), sample[:1].numel()).norm(dim=1) for sample in optimizer.grad_samples]
    table = torch.stack([norm.detach().to(each[0].device) for norm in each], dim=1)
    return table if isinstance(optimizer, DPPerLayerOptimizer) else table.norm(dim=1)


def labels_of(gradient: torch.Tensor) -> torch.Tensor:
    """int64 (B,): from the gradient of cross-entropy at logits (B, classes), probabilities less one-hot: the class of
    the only negative entry (Zhao et al. 2001.02610). -1 where there is not exactly one."""
    if gradient.ndim != 2:
        return gradient.new_full((len(gradient),), -1, dtype=torch.int64)
    return torch.where((gradient < 0).sum(dim=1) == 1, gradient.argmin(dim=1), -1)


def accounting_of(hook) -> tuple:
    """(accountant, sample rate) of the step hook that a PrivacyEngine attached, which keeps them as nonlocals."""
    known = inspect.getclosurevars(hook).nonlocals if inspect.isfunction(hook) else {}
    return known.get("self"), known.get("sample_rate")
