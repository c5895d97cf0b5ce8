# Helpers only: the checked configuration, paths, and what the rules share.
import os
import sys
from pathlib import Path

import yaml

from vpaudit.experiments import catalog
from vpaudit.priors import folder
from vpaudit.report import captions, figures
from vpaudit.study import config as configuration, depends, shards
from snakemake.exceptions import WorkflowError
from vpaudit.base.errors import VpauditError
from vpaudit.study.layout import MEASURED, Layout

try:
    STUDY = configuration.resolve(
        config, "the configuration (config/config.yaml and --configfile, --config)"
    )
    catalog.check(STUDY)
except VpauditError as error:
    sys.exit(f"error: {error}")

PATHS = Layout(STUDY)
PARTS = shards.names(STUDY)
FIGURES = captions.drawn(STUDY.model_dump(mode="json"))
configuration.save(STUDY, PATHS.config)
PACKAGE = depends.PACKAGE


def code(stage):
    """Source files of a stage as inputs; an edit of one runs its rules again, a mere touch does not."""
    return [relative(path) for path in depends.code(stage)]


def relative(path):
    """From the working copy's root, so that what Snakemake remembers holds in another folder."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def settings(group):
    """The part of the configuration a rule depends on."""
    return lambda wildcards: depends.settings(STUDY, group)


def stage(name, options=""):
    """The command of a stage."""
    return f"python -m vpaudit --log {{log}} stage {name} --config {PATHS.config} {options}"


IDX = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")


# Cards, read without torch: data sets that are fetched from the hub, public priors.
ON_HUB = [
    name
    for name, about in yaml.safe_load((PACKAGE / "data/cards.yaml").read_text()).items()
    if "hub" in about
]
PUBLIC_PRIORS = list(yaml.safe_load((PACKAGE / "priors/cards.yaml").read_text()))
# Cores of this machine, or of a cluster's jobs (which `set-threads` in a profile changes).
try:
    CORES = workflow.cores
except WorkflowError:
    CORES = 4


def fetched_data(wildcards):
    """What `fetch_data` leaves, for a study whose images come from the hub."""
    fetched = STUDY.data.name in ON_HUB and not STUDY.data.folder
    return [f"resources/data/full/{STUDY.data.name}/fetched.json"] if fetched else []


def training_images(wildcards):
    """Files of the full data set, for training; digits come with scikit-learn."""
    if STUDY.data.folder or STUDY.data.name != "fashion_mnist":
        return fetched_data(wildcards)
    return [f"resources/data/full/fashion_mnist/{name}-ubyte.gz" for name in IDX]


def prior_files():
    """Card and weights of the study's prior: any diffusers folder, without a card if it has none, or one to train."""
    public = (
        PATHS.prior.parent == Path("resources/priors")
        and PATHS.prior.name in PUBLIC_PRIORS
    )
    trained = PATHS.prior == PATHS.trained_prior
    unet = trained and STUDY.prior.training.architecture == "unet" or public
    card = PATHS.prior / "card.json"
    if not (trained or public) and folder.holds_prior(PATHS.prior):
        try:
            _, weights = folder.weight_files(folder.part_of(PATHS.prior))
        except VpauditError as error:
            sys.exit(f"error: {error}")
        return [card] * card.exists() + weights
    part = "unet" if unet else "transformer"
    return [card, PATHS.prior / part / "diffusion_pytorch_model.safetensors"]


def few_step_plan(wildcards):
    """The prior's fitted solver, where an attack uses it."""
    used = any(attack.kind == "few_step" for attack in STUDY.attacks)
    return [PATHS.prior / "few_step.json"] if used else []


def public_images():
    """What the adversary knows of the targets' kind, where an attack uses it."""
    return [PATHS.public] if STUDY.public_images else []


def others(*kinds):
    """Images of an audit beside those attacked, where it has them."""
    return [file for kind in kinds if (file := getattr(STUDY.recognition, kind))]


def figure_code(name):
    """The module that draws a figure, with all that it imports."""
    source = f"report.figures.{figures.FIGURES[name]}"
    return [relative(path) for path in depends.code_of_module(source)]


def experiment_code(wildcards, part="run"):
    """A module of an experiment, with all that it imports."""
    name = f"experiments.{wildcards.experiment}.{part}"
    return [relative(path) for path in depends.code_of_module(name)]


def experiment_settings(wildcards):
    """The part of the configuration that an experiment depends on."""
    return catalog.depends_on(STUDY, wildcards.experiment)


def experiment_figures(target):
    """Files of the figures that a target asks for."""
    return [
        PATHS.experiment_figure(name, kind)
        for name in catalog.figures(target)
        for kind in figures.KINDS
    ]


def experiment_outputs(name):
    """Everything that an experiment makes, and figures that are asked for by its name."""
    about = catalog.card(name)
    return [
        *([PATHS.experiment(name)] if about.kind != "figure" else []),
        *([PATHS.experiment_claims(name)] if about.has_claims else []),
        *(
            [PATHS.experiment_figure(name, kind) for kind in figures.KINDS]
            if about.has_figure
            else []
        ),
        *experiment_figures(name),
    ]


def arrays():
    """Targets, and what is released and reconstructed of them (of a study in parts, of the first) at every mu."""
    at_mu = (PATHS.observation, PATHS.reconstruction)
    firsts = [shards.at(STUDY, mu)[0] for mu in STUDY.mu_names]
    return [PATHS.targets, *(f(part) for part in firsts for f in at_mu)]


def figure_inputs(wildcards):
    """Tables, the figure's own module, for the image grid the arrays, for the bound on every attack public images."""
    own = figure_code(wildcards.figure)
    tables = [PATHS.table(table) for table in (*MEASURED, "bounds")]
    others = {"reconstructions": arrays, "success": public_images}
    return tables + own + others.get(wildcards.figure, list)()


def shown(path, section):
    """A figure as Snakemake's report shows it, under its section of the paper."""
    return report(
        path,
        caption="../workflow/report/figure.rst",
        category=section,
        labels=lambda wildcards: {
            "figure": wildcards.get("figure") or wildcards.experiment,
            "study": STUDY.study,
        },
    )
