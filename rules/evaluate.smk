# in:  targets.npz, reconstructions, references      out: results/<study>/parts/<table>/mu=<part>.parquet


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
        PATHS.references("{part}"),
        PATHS.gaussian / "gaussian.safetensors",
        code("evaluate"),
    output:
        [PATHS.part(table, "{part}") for table in MEASURED],
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
        [PATHS.part(table, part) for table in MEASURED for part in PARTS],
