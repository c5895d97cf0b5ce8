# in:  experiments/{curves,scores,ball}.parquet      out: results/<study>/theory.parquet, figures/<study>-engine/*
# What theory allows an adversary with a realistic prior; not part of the default target: `snakemake theory`.


rule theory_table:
    input:
        [PATHS.experiment(name) for name in ("curves", "scores", "ball")],
        PATHS.targets,
        PATHS.gaussian / "gaussian.safetensors",
        code("theory"),
    output:
        PATHS.table("theory"),
    log:
        PATHS.log("theory"),
    conda:
        "../environment.yml"
    params:
        settings=settings("bounds"),
    shell:
        stage("theory")


rule theory:
    input:
        PATHS.table("theory"),
        experiment_figures("theory"),
