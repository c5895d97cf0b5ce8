"""What the adversary of a study holds: the observation, and priors."""

from dataclasses import replace
from functools import cached_property
from pathlib import Path

import torch

from vpaudit.attack import given_norm, knowledge
from vpaudit.base import pixels
from vpaudit.privacy.mechanism import Mechanism, Observation
from vpaudit.stages.inputs import chosen, opened
from vpaudit.study import depends
from vpaudit.study.checkpoints import Journal
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
    """The priors of a study, each read once, when first needed.

    `remember`: the network keeps its answers, and its layers are packed where it is a float32 network on a CPU.
    """

    def __init__(self, config: Config, layout: Layout, device: str, remember: bool = False):
        self.config, self.layout, self.remember = config, layout, remember
        self.device = chosen(device)
        self._given_norm: dict[float, given_norm.GivenNorm] = {}

    def files(self) -> list[Path]:
        """All that says what the priors are: weights, configurations, cards, fitted solvers."""
        found = (p for folder in (self.layout.prior, self.layout.gaussian) for p in folder.rglob("*"))
        return sorted(p for p in found if p.suffix in (".safetensors", ".bin", ".json"))

    @cached_property
    def network(self):
        from vpaudit.priors import network, packed
        from vpaudit.priors.remembered import Remembered

        model = network.load(self.layout.prior, self.device, self.config.prior.precision, self.config.prior.rows)
        if model.few_step:
            model.gaussian = self.gaussian.to(model.device)
        if not self.remember:
            return model
        if model.device.type == "cpu" and model.precision == "float32":
            packed.pack(model.network)
        return Remembered(model)

    @cached_property
    def gaussian(self):
        from vpaudit.priors import gaussian

        return gaussian.load(self.layout.gaussian)

    def believe(self, seen: Observation, settings) -> Observation:
        """The observation as an adversary of this attack's knowledge takes it."""
        if settings.knowledge == Knowledge():
            return seen
        norm, clip = knowledge.typical_norm(self.sized_gaussian(seen)), self.config.mechanism.max_grad_norm
        return knowledge.believe(seen, settings.knowledge, self.of(settings.kind), norm, clip, self.config.seed)

    def sized_gaussian(self, seen: Observation):
        """The Gaussian prior; one of any size, at the size of these images."""
        from vpaudit.priors import gaussian

        return gaussian.sized(self.gaussian, seen.y.shape[1:])

    @cached_property
    def public(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Public images to learn from, and as references."""
        with opened(self.layout.public) as file:
            return given_norm.divided(pixels.from_uint8(file["images"]), self.config.seed)

    def attack_given_norm(self, seen: Observation) -> given_norm.GivenNorm:
        """The attack of this kind at one mu, with what it learns there from public images: once for all shards."""
        if seen.mu not in self._given_norm:
            rule = Mechanism(seen.mu, self.config.mechanism.max_grad_norm)
            attack = given_norm.GivenNorm(self.network, self.sized_gaussian(seen), rule.max_grad_norm)
            self._given_norm[seen.mu] = self._learnt(attack, rule) if self.config.public_images else attack
        return self._given_norm[seen.mu]

    def _learnt(self, attack: given_norm.GivenNorm, rule: Mechanism) -> given_norm.GivenNorm:
        config = self.config
        public, references = self.public
        attack = replace(attack, references=references)
        inputs = [self.layout.public, *self.files()]
        journal = Journal(self.layout.work / "given_norm", depends.code("reconstruct"), inputs)
        key = [rule.mu, rule.max_grad_norm, config.seed, config.dataset, config.prior.precision, config.prior.rows]
        return replace(
            attack, weights=journal(key, lambda: given_norm.learn(attack, public, rule, config.dataset, config.seed))
        )

    def of(self, kind: str):
        """The prior that a kind of attack asks; None for `raw`."""
        return {"raw": lambda: None, "wiener": lambda: self.gaussian}.get(kind, lambda: self.network)()
