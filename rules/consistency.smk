# in:  parts of every mu      out: {metrics,baselines,consistency,references}.parquet, summary.json, run.json


rule collect:
    input:
        PATHS.part("baselines", "unrelated"),
        [PATHS.part(table, part) for table in MEASURED for part in PARTS],
        code("collect"),
    output:
        [PATHS.table(table) for table in MEASURED],
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
        [PATHS.table(table) for table in (*MEASURED, "bounds")],
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
