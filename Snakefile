# Visual privacy auditing: data -> privatize -> reconstruct -> evaluate -> consistency, bounds -> figures -> report.
# The default study is config/config.yaml (the embedded one); `--configfile config/smoke.yaml` lays another over it.
import sys
from pathlib import Path

from vpaudit import config as configuration, figures
from vpaudit.config import stage_settings
from vpaudit.errors import VpauditError
from vpaudit.layout import Layout


configfile: "config/config.yaml"


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
    """Library modules a rule uses: an edit of one runs the rule again, a mere touch does not."""
    return [str(PACKAGE / name) for name in names]


def settings(stage):
    """The part of the configuration a rule depends on."""
    return lambda wildcards: stage_settings(STUDY, stage)


def stage(name, options=""):
    """The command of a stage."""
    return f"python -m vpaudit {name} --config {PATHS.config} {options}"


wildcard_constraints:
    mu=r"[0-9.e+-]+",
    figure=r"\w+",


include: "rules/data.smk"
include: "rules/priors.smk"
include: "rules/privatize.smk"
include: "rules/reconstruct.smk"
include: "rules/evaluate.smk"
include: "rules/bounds.smk"
include: "rules/consistency.smk"
include: "rules/figures.smk"
include: "rules/report.smk"


rule all:
    default_target: True
    input:
        PATHS.report,
        PATHS.summary,
        rules.figures.input,
