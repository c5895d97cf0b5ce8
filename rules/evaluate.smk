# in:  targets.npz, reconstructions      out: results/<study>/parts/{metrics,baselines,consistency}/mu=<mu>.parquet


rule baseline:
    input:
        PATHS.targets,
        PATHS.gaussian / "gaussian.safetensors",
        code("evaluate.py", "metrics.py", "lpips_backbone.py", "stages/images.py"),
    output:
        PATHS.part("baselines", "unrelated"),
    log:
        PATHS.log("baseline"),
    benchmark:
        PATHS.timing("baseline")
    conda:
        "../environment.yml"
    threads: 1
    params:
        settings=settings("evaluate"),
    shell:
        stage("baseline", "--threads {threads}")


rule evaluate:
    input:
        PATHS.targets,
        PATHS.reconstruction("{mu}"),
        code(
            "evaluate.py",
            "metrics.py",
            "lpips_backbone.py",
            "consistency.py",
            "stages/images.py",
        ),
    output:
        PATHS.part("metrics", "{mu}"),
        PATHS.part("baselines", "{mu}"),
        PATHS.part("consistency", "{mu}"),
    log:
        PATHS.log("evaluate-{mu}"),
    benchmark:
        PATHS.timing("evaluate-{mu}")
    conda:
        "../environment.yml"
    threads: max(1, workflow.cores // max(2, len(STUDY.mechanism.mu)))
    params:
        settings=settings("evaluate"),
    shell:
        stage("evaluate", "--mu {wildcards.mu} --threads {threads}")


rule stage_evaluate:
    input:
        PATHS.part("baselines", "unrelated"),
        [
            PATHS.part(table, mu)
            for table in ("metrics", "baselines", "consistency")
            for mu in STUDY.mu_names
        ],
