"""What experiments share: images, observation, priors and metrics of a study, at one mu."""

import copy

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from vpaudit import data
from vpaudit.attack import reconstruct
from vpaudit.base import pixels, places
from vpaudit.base.errors import VpauditError
from vpaudit.measure import metrics
from vpaudit.measure.meter import Meter
from vpaudit.priors import samples
from vpaudit.privacy import mechanism
from vpaudit.privacy.mechanism import Mechanism, Observation
from vpaudit.stages.adversary import Priors
from vpaudit.stages.inputs import read_targets
from vpaudit.study.config import Attack, Config
from vpaudit.study.layout import Layout

SHARED = places.home().parent / "shared" / "data"  # further data sets, used where they are
LONG_CHAIN = 200  # steps after which the ancestral chain has converged
PRIORS = ("unconditional", "true_class", "wrong_class", "gaussian")  # that an adversary may hold
BLANK = 784  # gradient coordinates without image that a release carries, as many as an image has


class Bench:
    """The first `experiments.images` targets of a study.

    Attributes:
        x, labels, ids: the targets; seen: their analytic release at mu, with blank coordinates.
        network, gaussian: the study's priors.
    """

    def __init__(
        self, config: Config, layout: Layout, mu: float, images: int | None = None, device="auto", compiled=True
    ):
        count = images or config.experiments.images
        self.config, self.layout, self.mu = config, layout, float(mu)
        self.mechanism = Mechanism(self.mu, config.mechanism.max_grad_norm)
        self.priors = Priors(config, layout, device)
        self.network.rows = min(self.network.rows, count)
        if compiled and config.experiments.compile:
            self.network.compile()
        self._aim(*(v[:count] for v in read_targets(layout)))

    def _aim(self, x: torch.Tensor, labels: torch.Tensor, ids: torch.Tensor) -> None:
        self.x, self.labels, self.ids = x, labels, ids
        self.seen = self.release(self.mechanism)
        self.meter = Meter(self.config, x, ids)

    def others(self, count: int) -> "Bench":
        """The same priors aimed at `count` test images that are none of the study's targets."""
        about = self.config.data
        # The choice is by one order of all images, so that more of them include the study's.
        drawn = data.draw(self.data_set, "test", about.images + count, self.config.seed)
        drawn = drawn[~np.isin(drawn.ids, read_targets(self.layout)[2].numpy())]
        bench = copy.copy(self)
        bench._aim(pixels.from_uint8(drawn.images), torch.from_numpy(drawn.labels), torch.from_numpy(drawn.ids))
        return bench

    @property
    def data_set(self) -> str:
        """The name of the study's data set, for who needs more of its images."""
        if self.config.data.folder:
            raise VpauditError("this experiment needs images beyond the study's", "use a study of a named data set")
        return self.config.data.name

    @property
    def network(self):
        return self.priors.network

    @property
    def gaussian(self):
        return self.priors.gaussian

    def release(self, rule: Mechanism, round_: int = 0) -> Observation:
        """The simple release of the targets."""
        return mechanism.release_analytic(
            self.x, self.ids, self.labels, rule, self.config.dataset, self.config.seed, round_, blank=BLANK
        )

    def attack(self, draw: int = 0, seen: Observation | None = None, **settings) -> torch.Tensor:
        """Reconstructions (N, C, H, W) by an attack of these settings; its name keys the random draws."""
        chosen = Attack(**{"name": settings["kind"], **settings})
        prior = self.priors.of(chosen.kind)
        return reconstruct.reconstruct(self.seen if seen is None else seen, prior, chosen, self.config.seed, draw=draw)

    def posterior_mean(self, seen: Observation) -> torch.Tensor:
        """One call of the network."""
        return self.attack(kind="posterior_mean", seen=seen)

    def within(self, seen: Observation) -> Observation:
        """Noise above the prior's range taken for its highest: nothing is to be seen there anyway."""
        return seen.with_belief(seen.lam, seen.sigma.minimum(seen.lam * self.network.sigma_max))

    def images_of_the_prior(self) -> torch.Tensor:
        """As many images of the prior itself as there are targets, by a long ancestral chain."""
        return self.sample_prior(self.ids, LONG_CHAIN, order=1)

    def sample_prior(self, ids, steps: int, order: int, labels: torch.Tensor | None = None) -> torch.Tensor:
        """(len(ids), C, H, W) images of the prior from its highest noise; keyed by id, steps and order.

        order 1 is the ancestral chain; labels None is unconditional.
        """
        return samples.draw(self.network, self.config.seed, ids, steps, order, labels)

    def quality(self, images: torch.Tensor, **columns) -> pd.DataFrame:
        """Every metric of the study against the targets."""
        values = self.meter.against_targets(images, self.meter.features(images))
        return self.rows({k: v for k, v in values.items() if k != "psnr"}, **columns)

    def errors(self, images: torch.Tensor, **columns) -> pd.DataFrame:
        """MSE against the targets alone."""
        return self.rows({"mse": metrics.mse(images, self.x)}, **columns)

    def rows(self, values: dict[str, torch.Tensor], **columns) -> pd.DataFrame:
        """Long format: a row an image and name."""
        return self.meter.rows(values, mu=self.mu, **columns)


def progress(settings: list, name: str):
    """A bar over an experiment's settings, quiet when not a terminal."""
    return tqdm(settings, desc=name, disable=None, ascii=True, ncols=79)
