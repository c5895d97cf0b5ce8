# in:  parts of every mu      out: metrics.parquet, baselines.parquet, consistency.parquet, summary.json, run.json


rule collect:
    input:
        PATHS.part("baselines", "unrelated"),
        [
            PATHS.part(table, part)
            for table in ("metrics", "baselines", "consistency")
            for part in PARTS
        ],
        code("collect"),
    output:
        [PATHS.table(table) for table in ("metrics", "baselines", "consistency")],
    log:
        PATHS.log("collect"),
    benchmark:
        PATHS.timing("collect")
    conda:
        "../environment.yml"
    params:
        settings=settings("summary"),
    shell:
        stage("collect")


rule summary:
    input:
        [
            PATHS.table(table)
            for table in ("metrics", "baselines", "consistency", "bounds")
        ],
        [PATHS.experiment_claims(name) for name in STUDY.experiments.with_study],
        code("summary"),
    output:
        PATHS.summary,
        PATHS.run,
    log:
        PATHS.log("summary"),
    conda:
        "../environment.yml"
    params:
        settings=settings("summary"),
    shell:
        stage("summary")
