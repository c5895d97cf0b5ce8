"""From observations to reconstructions."""

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

from vpaudit.attack import reconstruct as attack
from vpaudit.base import files, pixels
from vpaudit.base.errors import VpauditError
from vpaudit.privacy.mechanism import Mechanism, Observation, release_without_target
from vpaudit.stages.adversary import Priors, read_observation
from vpaudit.study import depends
from vpaudit.study.checkpoints import Journal
from vpaudit.study.config import Attack, Config
from vpaudit.study.layout import Layout


@dataclass(frozen=True)
class Job:
    """One draw of one attack on a shard of the images."""

    settings: Attack
    conditioning: str
    draw: int
    seen: Observation
    reference: str = ""

    @property
    def name(self) -> str:
        """Of the array that holds the result: the tables' columns `prior` and `attack`, before them any `reference`."""
        prior = {"raw": "none", "wiener": "gaussian"}.get(self.settings.kind, self.conditioning)
        return f"{self.reference}.{prior}.{self.settings.name}".removeprefix(".")

    def key(self, config: Config) -> list:
        """All that the result depends on besides the priors, for its checkpoint: other studies find it by it too."""
        plain = self.settings.model_dump(exclude={"draws", "conditioning"})
        prior = [config.prior.precision, config.prior.rows]
        seen = hashlib.sha256(b"".join(v.numpy().tobytes() for v in (self.seen.y, self.seen.lam, self.seen.sigma)))
        shard = [config.seed, *prior, config.jobs.store, self.seen.ids.tolist(), self.reference, seen.hexdigest()]
        return [plain, self.conditioning, self.draw, *shard]


def reconstruct(config: Config, layout: Layout, part: str, device: str = "auto") -> None:
    """observations/mu=<part>.npz -> reconstructions and references: every attack, conditioning and draw."""
    seen = read_observation(config, layout.observation(part))
    priors = Priors(config, layout, device, remember=True)
    inputs = [*priors.files(), *[layout.public] * config.public_images]
    journal = Journal(layout.work / "reconstruct" / f"mu={part}", depends.code("reconstruct"), inputs)
    todo = {
        layout.reconstruction(part): list(jobs(config, seen)),
        layout.references(part): list(reference_jobs(config, seen, priors)),
    }
    total = sum(len(job.seen) * job.settings.steps for some in todo.values() for job in some)
    with tqdm(total=total, desc=f"mu={part}", unit="call", disable=None, ascii=True, ncols=79) as bar:
        for path, some in todo.items():
            made = {}
            for job in some:
                finished = journal(job.key(config), lambda job=job: shard(config, priors, job))
                made.setdefault(job.name, []).append(finished)
                bar.update(len(job.seen) * job.settings.steps)
            with files.atomic(path) as temporary:
                np.savez(temporary, **{name: _stacked(shards, len(seen)) for name, shards in made.items()})
    if not config.jobs.keep_checkpoints:
        journal.drop()


def jobs(config: Config, seen: Observation) -> Iterator[Job]:
    """Attack by attack, conditioning by conditioning, draw by draw, shard by shard."""
    for settings in config.attacks:
        for conditioning, draw in itertools.product(_told(settings, seen), range(settings.draws)):
            yield from (Job(settings, conditioning, draw, some) for some in in_shards(config, seen))


def reference_jobs(config: Config, seen: Observation, priors: Priors) -> Iterator[Job]:
    """The same of the attacks whose success is compared, told the class as first, on releases without the target."""
    rule = Mechanism(seen.mu, config.mechanism.max_grad_norm)
    for reference, draw in itertools.product(config.success.references, range(config.success.draws)):
        without = release_without_target(seen, reference, priors.gaussian.mean, rule, config.seed, draw)
        for settings in config.compared:
            for conditioning in _told(settings, seen)[:1]:
                yield from (Job(settings, conditioning, draw, s, reference) for s in in_shards(config, without))


def _told(settings: Attack, seen: Observation) -> list[str]:
    classes = bool((seen.labels >= 0).all())  # images of a folder have none
    return [c for c in settings.conditioning if classes or c == "unconditional"]


def in_shards(config: Config, seen: Observation) -> Iterator[Observation]:
    """As many images at a time as are checkpointed together."""
    return (seen[start : start + config.shard_size] for start in range(0, len(seen), config.shard_size))


def shard(config: Config, priors: Priors, job: Job) -> np.ndarray:
    """The reconstructions (n, C, H, W) of a job, as they are stored."""
    believed = priors.believe(job.seen, job.settings)
    if job.settings.kind == "given_norm":
        made = priors.attack_given_norm(job.seen).reconstruct(believed)
    else:
        prior = priors.of(job.settings.kind)
        made = attack.reconstruct(believed, prior, job.settings, config.seed, job.conditioning, job.draw).cpu()
    if not torch.isfinite(made).all():
        what = f"{job.settings.name} ({job.conditioning}) at mu={job.seen.mu:g}"
        raise VpauditError(f"{what} gave values that are not finite", "check the prior's weights")
    return pixels.packed(made.numpy(), config.jobs.store)


def _stacked(shards: list[np.ndarray], images: int) -> np.ndarray:
    """(draws, images, C, H, W), of shards in this order."""
    joined = np.concatenate(shards)
    return joined.reshape(-1, images, *joined.shape[1:])
