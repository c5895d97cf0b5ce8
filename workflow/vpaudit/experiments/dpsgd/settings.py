"""Settings of `experiments.settings.dpsgd`, and the tries that each method has for its own. No torch."""

import itertools
from typing import Literal

from pydantic import Field

from vpaudit.study.config import Config, Section, Training, checked

TRIES = {  # nine each; the best of a coarser set lay at an end of it for two methods
    "plain": [{"lr": lr} for lr in (0.125, 0.25, 0.5, 1, 2, 4, 8, 16, 32)],
    "kalman": [{"lr": lr, "gain": k} for lr, k in itertools.product((0.5, 2, 6), (0.1, 0.3, 0.6))],
    "wiener": [{"lr": lr} for lr in (0.5, 1, 2, 4, 8, 16, 32, 64, 128)],
    "subspace": [{"lr": lr, "rank": k} for lr, k in itertools.product((0.5, 2, 8), (8, 24, 60))],
    "diffusion": [{"lr": lr} for lr in (0.5, 1, 2, 4, 8, 16, 32, 64, 128)],
}


class Settings(Section):
    """Denoising gradients inside DP-SGD. The full version is config/dpsgd.yaml."""

    models: list[Literal["logistic", "convolutional", "features"]] = Field(
        ["logistic"], description="classifiers trained; features: logistic on frozen features of features_data"
    )
    methods: list[Literal["plain", "kalman", "wiener", "subspace", "diffusion"]] = Field(
        ["plain", "kalman", "wiener", "subspace"], description="what is done to the released gradient; needs plain"
    )
    epsilons: list[float] = Field([1, 8], description="budgets at delta = 1e-5, each > 0")
    seeds: int = Field(3, ge=1, description="runs of each, paired between methods")
    steps: int = Field(200, ge=1, description="DP-SGD steps at sample rate 0.1")
    private: int = Field(10_000, ge=1, description="private images at most")
    features_data: str = Field("cifar10_local", description="data set of the model `features`")
    gradient_prior: Training = Field(
        Training(
            images_seen=64_000, batch_size=64, width=128, layers=4, heads=4, sigma_range=(0.05, 100.0), compile=False,
            label_dropout=0.0, optimizer="adamw",
        ),
        description="training of the diffusion model over public gradients",
    )  # fmt: skip


def settings_of(config: Config) -> Settings:
    """The settings of a study."""
    return checked(Settings, config.experiments.settings.get("dpsgd", {}), "experiments.settings.dpsgd is not valid")
