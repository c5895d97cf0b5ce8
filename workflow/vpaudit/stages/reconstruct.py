"""From observations to reconstructions."""

import numpy as np
import torch
from tqdm import tqdm

from vpaudit.attack import reconstruct as attack
from vpaudit.base import files, pixels
from vpaudit.base.errors import VpauditError
from vpaudit.stages.adversary import Priors, read_observation
from vpaudit.study import depends
from vpaudit.study.checkpoints import Journal
from vpaudit.study.config import Config
from vpaudit.study.layout import Layout


def reconstruct(config: Config, layout: Layout, part: str, device: str = "auto") -> None:
    """observations/mu=<part>.npz -> reconstructions/mu=<part>.npz: every attack, conditioning and draw."""
    seen = read_observation(config, layout.observation(part))
    priors = Priors(config, layout, device)
    journal = Journal(
        layout.work / "reconstruct" / f"mu={part}",
        depends.code("reconstruct"),
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
                    return pixels.packed(made.numpy(), config.jobs.store)

                plain = settings.model_dump(exclude={"draws", "conditioning"})
                key = [plain, conditioning, draw, config.seed, config.prior.precision, config.prior.rows]
                finished.append(journal([*key, config.jobs.store, some.ids.tolist()], compute))
                bar.update(len(some) * settings.steps)
            results.setdefault(f"{prior_name(settings.kind, conditioning)}.{settings.name}", []).append(
                np.concatenate(finished)
            )
    stacked = {name: np.stack(draws) for name, draws in results.items()}
    with files.atomic(layout.reconstruction(part)) as temporary:
        np.savez(temporary, **stacked)
    if not config.jobs.keep_checkpoints:
        journal.drop()


def prior_name(kind: str, conditioning: str) -> str:
    """What stands in the tables' `prior` column."""
    return {"raw": "none", "wiener": "gaussian"}.get(kind, conditioning)
