"""What the adversary of a study holds: the observation, and priors."""

from functools import cached_property
from pathlib import Path

import torch

from vpaudit.attack import knowledge
from vpaudit.privacy.mechanism import Observation
from vpaudit.stages.inputs import chosen, opened
from vpaudit.study.config import Config, Knowledge
from vpaudit.study.layout import Layout


def read_observation(config: Config, path: Path) -> Observation:
    with opened(path) as file:
        return Observation(
            torch.from_numpy(file["y"]),
            torch.from_numpy(file["lam"]),
            torch.from_numpy(file["sigma"]),
            torch.from_numpy(file["ids"]),
            torch.from_numpy(file["labels"]),
            config.dataset,
            float(file["mu"]),
        )


class Priors:
    """The priors of a study, each read once, when first needed."""

    def __init__(self, config: Config, layout: Layout, device: str):
        self.config, self.layout = config, layout
        self.device = chosen(device)

    def files(self) -> list[Path]:
        """All that says what the priors are: weights, configurations, cards, fitted solvers."""
        found = (p for folder in (self.layout.prior, self.layout.gaussian) for p in folder.rglob("*"))
        return sorted(p for p in found if p.suffix in (".safetensors", ".bin", ".json"))

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
