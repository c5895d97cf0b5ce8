# Helpers only: the checked configuration, paths, and what the rules share.
import sys
from pathlib import Path

from vpaudit import config as configuration, figures
from vpaudit.config import stage_settings
from vpaudit.errors import VpauditError
from vpaudit.layout import Layout

try:
    STUDY = configuration.resolve(
        config, "the configuration (config/config.yaml and --configfile, --config)"
    )
except VpauditError as error:
    sys.exit(f"error: {error}")

PATHS = Layout(STUDY)
configuration.save(STUDY, PATHS.config)
PACKAGE = Path("workflow/vpaudit")


def code(*names):
    """Library modules as inputs; an edit of one runs its rules again, a mere touch does not."""
    return [str(PACKAGE / name) for name in names]


def settings(stage):
    """The part of the configuration a rule depends on."""
    return lambda wildcards: stage_settings(STUDY, stage)


def stage(name, options=""):
    """The command of a stage."""
    return f"python -m vpaudit --log {{log}} {name} --config {PATHS.config} {options}"


IDX = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")


def training_images(wildcards):
    """Files of the full data set, for training; digits come with scikit-learn."""
    return (
        [f"resources/data/full/fashion_mnist/{name}-ubyte.gz" for name in IDX]
        if STUDY.data.name == "fashion_mnist"
        else []
    )


def prior_files():
    """Card and weights of the study's prior: any diffusers folder, without a card if it has none, or one to train."""
    part = "unet" if (PATHS.prior / "unet/config.json").exists() else "transformer"
    weights, card = (
        PATHS.prior / part / "diffusion_pytorch_model.safetensors",
        PATHS.prior / "card.json",
    )
    foreign = weights.exists() and not card.exists()
    return [weights] if foreign else [card, weights]


def few_step_plan(wildcards):
    """The prior's fitted solver, where an attack uses it."""
    used = any(attack.kind == "few_step" for attack in STUDY.attacks)
    return [PATHS.prior / "few_step.json"] if used else []


def figure_code(name):
    """The module that draws a figure."""
    source = figures.ALL[name].__module__.removeprefix("vpaudit.")
    return code(Path(*source.split(".")).with_suffix(".py"))


def engine_figure_inputs(wildcards):
    """Tables of a figure that is no part of the default study."""
    if wildcards.figure == "peers":
        tables = [PATHS.results / "benchmarks/peers.parquet"]
    elif wildcards.figure in figures.theory.FIGURES:
        tables = [PATHS.table("theory"), PATHS.table("metrics"), PATHS.table("bounds")]
    else:
        tables = [PATHS.experiment(wildcards.figure)]
    return tables + figure_code(wildcards.figure)


def arrays():
    """Targets, and what is released and reconstructed of them at every mu."""
    at_mu = (PATHS.observation, PATHS.reconstruction)
    return [PATHS.targets, *(f(mu) for mu in STUDY.mu_names for f in at_mu)]


def figure_inputs(wildcards):
    """Tables, the figure's own module, and for the image grid the arrays."""
    own = figure_code(wildcards.figure)
    tables = [
        PATHS.table(table)
        for table in ("metrics", "baselines", "consistency", "bounds")
    ]
    return tables + own + (arrays() if wildcards.figure == "reconstructions" else [])
