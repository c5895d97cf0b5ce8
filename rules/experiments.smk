# in:  targets.npz, priors      out: results/<study>/experiments/<experiment>.{parquet,claims.json}, figures/<study>-engine/*
# Beyond the paper's study and not part of the default target: `snakemake experiments`, or one of them by its name.
AT_EACH_MU, OVER_ALL_MU = catalog.names("each mu"), catalog.names("all mu")


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
        settings=experiment_settings,
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
        public_images(),
        lambda wildcards: [
            PATHS.experiment(name) for name in catalog.card(wildcards.experiment).after
        ],
        lambda wildcards: [
            PATHS.reconstruction(part)
            for part in PARTS * catalog.card(wildcards.experiment).reconstructions
        ],
        experiment_code,
    output:
        PATHS.experiment("{experiment}"),
    log:
        PATHS.log("measurement-{experiment}"),
    benchmark:
        PATHS.timing("measurement-{experiment}")
    wildcard_constraints:
        experiment="|".join(OVER_ALL_MU),
    conda:
        "../environment.yml"
    threads: CORES
    resources:
        gpu=1,
    params:
        settings=experiment_settings,
    shell:
        stage("experiment", "--name {wildcards.experiment} --threads {threads}")


rule experiment_table:
    input:
        lambda wildcards: [
            PATHS.experiment(wildcards.experiment, f"{mu:g}")
            for mu in catalog.mu(STUDY, wildcards.experiment)
        ],
    output:
        PATHS.experiment("{experiment}"),
    log:
        PATHS.log("experiment-{experiment}"),
    wildcard_constraints:
        experiment="|".join(AT_EACH_MU),
    conda:
        "../environment.yml"
    shell:
        stage("experiment_table", "--name {wildcards.experiment}")


rule experiment_claims:
    input:
        PATHS.experiment("{experiment}"),
        lambda wildcards: experiment_code(wildcards, "claims"),
    output:
        PATHS.experiment_claims("{experiment}"),
    log:
        PATHS.log("claims-{experiment}"),
    conda:
        "../environment.yml"
    shell:
        stage("experiment_claims", "--name {wildcards.experiment}")


rule experiment_figure:
    input:
        lambda wildcards: [
            PATHS.table(table)
            for table in catalog.card(wildcards.experiment).figure_tables
        ],
        lambda wildcards: experiment_code(wildcards, "figure"),
    output:
        [
            PATHS.experiment_figure("{experiment}", kind)
            for kind in ("pdf", "csv", "txt")
        ],
        png=shown(
            PATHS.experiment_figure("{experiment}", "png"),
            lambda wildcards: catalog.card(wildcards.experiment).section,
        ),
    log:
        PATHS.log("engine-figure-{experiment}"),
    wildcard_constraints:
        experiment="|".join(catalog.figures()),
    conda:
        "../environment.yml"
    params:
        settings=settings("figures"),
        caption=lambda wildcards: captions.of_experiment(
            catalog.card(wildcards.experiment).caption, STUDY.model_dump(mode="json")
        ),
    shell:
        stage("experiment_figure", "--name {wildcards.experiment}")


rule experiments:
    input:
        [PATHS.experiment(name) for name in AT_EACH_MU + OVER_ALL_MU],
        experiment_figures("experiments"),


# Each by its name: `snakemake --configfile config/dpsgd.yaml dpsgd` runs the denoised gradients in full.
for name in catalog.cards():

    rule:
        name:
            name
        input:
            experiment_outputs(name),
