# in:  targets.npz, priors      out: results/<study>/experiments/<experiment>.parquet, figures/<study>-engine/*
# Beyond the paper's study and not part of the default target: `snakemake experiments`.
from vpaudit.base.labels import EXPERIMENTS, MEASUREMENTS


rule experiment:
    input:
        PATHS.targets,
        prior_files(),
        PATHS.prior / "few_step.json",
        PATHS.gaussian / "gaussian.safetensors",
        experiment_code,
    output:
        PATHS.experiment("{experiment}", "{mu}"),
    log:
        PATHS.log("experiment-{experiment}-{mu}"),
    benchmark:
        PATHS.timing("experiment-{experiment}-{mu}")
    conda:
        "../environment.yml"
    threads: max(1, CORES // 2)
    resources:
        gpu=1,
    params:
        settings=settings("experiments"),
    shell:
        stage(
            "experiment",
            "--name {wildcards.experiment} --mu {wildcards.mu} --threads {threads}",
        )


rule measurement:
    input:
        PATHS.targets,
        prior_files(),
        PATHS.gaussian / "gaussian.safetensors",
        experiment_code,
    output:
        PATHS.experiment("{measurement}"),
    log:
        PATHS.log("measurement-{measurement}"),
    benchmark:
        PATHS.timing("measurement-{measurement}")
    wildcard_constraints:
        measurement="|".join(MEASUREMENTS),
    conda:
        "../environment.yml"
    threads: CORES
    resources:
        gpu=1,
    params:
        settings=lambda wildcards: depends.settings(
            STUDY, "dpsgd" if wildcards.measurement == "dpsgd" else "experiments"
        ),
    shell:
        stage("experiment", "--name {wildcards.measurement} --threads {threads}")


rule experiment_table:
    input:
        lambda wildcards: [
            PATHS.experiment(wildcards.experiment, f"{mu:g}")
            for mu in STUDY.experiment_mu(wildcards.experiment)
        ],
    output:
        PATHS.experiment("{experiment}"),
    log:
        PATHS.log("experiment-{experiment}"),
    wildcard_constraints:
        experiment="|".join(EXPERIMENTS),
    conda:
        "../environment.yml"
    shell:
        stage("experiment_table", "--name {wildcards.experiment}")


# The denoised gradients alone: `snakemake --configfile config/dpsgd.yaml dpsgd` is the full version.
rule dpsgd:
    input:
        [PATHS.figure("dpsgd", kind) for kind in figures.KINDS],


rule experiments:
    input:
        [PATHS.experiment(name) for name in EXPERIMENTS + MEASUREMENTS],
        [
            PATHS.figure(name, kind)
            for name in (
                *EXPERIMENTS,
                "confident",
                "scale",
                "shift",
                "transition",
                "dpsgd",
            )
            for kind in figures.KINDS
        ],
