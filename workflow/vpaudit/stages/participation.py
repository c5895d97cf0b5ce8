"""What an adversary makes of all rounds of a training who does not know which of them hold the image."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from vpaudit.attack import participation as rounds
from vpaudit.base import files, pixels
from vpaudit.measure.meter import measure
from vpaudit.privacy.mechanism import Mechanism, Observation, release_analytic
from vpaudit.stages.adversary import Priors
from vpaudit.stages.evaluate import meters
from vpaudit.stages.inputs import read_targets
from vpaudit.stages.reconstruct import Job, shard
from vpaudit.study.config import Attack, Config, Knowledge
from vpaudit.study.layout import Layout

KINDS = ("posterior_mean", "ddim", "multistep", "few_step")  # of attacks
NOTHING = pd.DataFrame({name: [] for name in ("noise_multiplier", "kind", "attack", "metric", "image", "value", "mu")})
NUMBERS = 2**22  # of rounds or pixels times images, that are held at once for each product asked


def participation(config: Config, layout: Layout, device: str = "auto") -> None:
    """targets.npz, priors -> participation/noise=<multiplier>.npz and participation.parquet, one a training.

    Columns of the tables `metrics` and `baselines` (kind "own" in the former), and noise_multiplier; the metric "mu" is
    what the rounds were worth of each image, as the mu of one release, and the column mu its mean over images.
    """
    tables, priors = [NOTHING], Priors(config, layout, device)
    for noise in config.rounds.noise_multiplier:
        seen, made = attacked(config, priors, noise, *read_targets(layout))
        with files.atomic(layout.participation(noise)) as temporary:
            np.savez(temporary, y=seen.y.numpy(), lam=seen.lam.numpy(), sigma=seen.sigma.numpy(), **made)
        tables += [rows.assign(noise_multiplier=noise) for rows in measured(config, layout, seen, made, device)]
    files.write_table(layout.table("participation"), pd.concat(tables, ignore_index=True))


def attacked(
    config: Config, priors: Priors, noise: float, x: torch.Tensor, labels: torch.Tensor, ids: torch.Tensor
) -> tuple[Observation, dict[str, np.ndarray]]:
    """The observation that all rounds amount to, and {"unconditional.<attack>": (draws, images, C, H, W)} made of it.

    Args:
        noise: sigma / C of a round; x, labels, ids: of the images, see `read_targets`.
    """
    parts = list(_observed(config, priors, noise, x, labels, ids))
    made = {
        f"unconditional.{a.name}": np.stack([
            np.concatenate([shard(config, priors, Job(a, "unconditional", draw, o)) for o in parts])
            for draw in range(a.draws)
        ])
        for a in config.attacks
        if takes_part(a)
    }  # fmt: skip
    joined = {name: torch.cat([getattr(o, name) for o in parts]) for name in ("y", "lam", "sigma", "ids", "labels")}
    return Observation(**joined, dataset=config.dataset, mu=parts[0].mu), made


def takes_part(attack: Attack) -> bool:
    """Attacks with the prior that are told lambda, as this adversary is."""
    return attack.kind in KINDS and attack.knowledge == Knowledge()


def _observed(config: Config, priors: Priors, noise: float, x, labels, ids) -> Iterator[Observation]:
    """A bounded number of images at a time; randomness is keyed by image."""
    rule, about, network = Mechanism(1 / noise, config.mechanism.max_grad_norm), config.rounds, priors.network

    def visible(seen: Observation) -> Observation:
        """Noise above the prior's range scaled down to its highest, the image with it: nothing is to be seen anyway."""
        scale = (network.sigma_max / seen.s).clamp_max(1.0)
        return replace(seen, y=(pixels.per_image(scale) * seen.y.double()).float(), sigma=scale * seen.sigma)

    def estimate(seen: Observation) -> torch.Tensor:
        return torch.from_numpy(pixels.unpacked(shard(config, priors, Job(mean, "unconditional", 0, visible(seen)))))

    mean = Attack(name="template", kind="posterior_mean")
    step = min(config.shard_size, max(1, NUMBERS // max(about.steps, x[0].numel())))
    for some in (slice(start, start + step) for start in range(0, len(x), step)):
        seen = release_analytic(x[some], ids[some], labels[some], rule, config.dataset, config.seed)
        halves = rounds.halves(x[some], seen, about.steps, about.sample_rate, config.seed)
        yield visible(rounds.attack(halves, seen, about.sample_rate, estimate))


def measured(config: Config, layout: Layout, seen: Observation, made: dict, device: str) -> Iterator[pd.DataFrame]:
    """Rows of every attack against own and other targets, and of mu."""
    worth = config.mechanism.max_grad_norm / seen.sigma
    tag = {"mu": float(worth.mean()), "prior": "unconditional"}
    for places, meter in meters(config, layout, slice(0, len(seen)), device):
        yield meter.rows({"mu": worth[places]}, kind="own", attack="", **tag)
        for name, images in made.items():
            some = torch.from_numpy(pixels.unpacked(images[:, places]))
            found = measure(meter, some, tag | {"attack": name.split(".")[1]})
            yield found["metrics"].assign(kind="own")
            yield found["baselines"]
