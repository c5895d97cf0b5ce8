# Visual privacy auditing: data -> privatize -> reconstruct -> evaluate -> consistency, bounds -> figures -> report.
# The default study is config/config.yaml (the embedded one); `--configfile config/smoke.yaml` lays another over it.
from vpaudit.study import shards


configfile: "config/config.yaml"


report: "workflow/report/workflow.rst"


wildcard_constraints:
    mu=r"[0-9.e+-]+",
    part=shards.PATTERN,
    figure=r"\w+",
    experiment=r"\w+",


include: "rules/common.smk"
include: "rules/data.smk"
include: "rules/priors.smk"
include: "rules/privatize.smk"
include: "rules/reconstruct.smk"
include: "rules/evaluate.smk"
include: "rules/bounds.smk"
include: "rules/consistency.smk"
include: "rules/figures.smk"
include: "rules/report.smk"
include: "rules/experiments.smk"
include: "rules/benchmarks.smk"
include: "rules/domain.smk"
include: "rules/participation.smk"
include: "rules/recognition.smk"


rule all:
    default_target: True
    input:
        PATHS.report,
        PATHS.summary,
        rules.figures.input,
        [experiment_outputs(name) for name in STUDY.experiments.with_study],
