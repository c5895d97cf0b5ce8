# in:  targets.npz, reconstructions      out: results/<study>/parts/{metrics,baselines,consistency}/mu=<part>.parquet


rule baseline:
    input:
        PATHS.targets,
        PATHS.gaussian / "gaussian.safetensors",
        code("baseline"),
    output:
        PATHS.part("baselines", "unrelated"),
    log:
        PATHS.log("baseline"),
    benchmark:
        PATHS.timing("baseline")
    conda:
        "../environment.yml"
    threads: 1
    resources:
        gpu=1,
    params:
        settings=settings("evaluate"),
    shell:
        stage("baseline", "--threads {threads}")


rule evaluate:
    input:
        PATHS.targets,
        PATHS.reconstruction("{part}"),
        code("evaluate"),
    output:
        PATHS.part("metrics", "{part}"),
        PATHS.part("baselines", "{part}"),
        PATHS.part("consistency", "{part}"),
    log:
        PATHS.log("evaluate-{part}"),
    benchmark:
        PATHS.timing("evaluate-{part}")
    conda:
        "../environment.yml"
    threads: max(1, CORES // max(2, len(PARTS)))
    resources:
        gpu=1,
    params:
        settings=settings("evaluate"),
    shell:
        stage("evaluate", "--part {wildcards.part} --threads {threads}")


rule stage_evaluate:
    input:
        PATHS.part("baselines", "unrelated"),
        [
            PATHS.part(table, part)
            for table in ("metrics", "baselines", "consistency")
            for part in PARTS
        ],
