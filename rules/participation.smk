# in:  targets.npz, prior      out: results/<study>/participation.parquet, participation/noise=<multiplier>.npz
# An adversary who sees all rounds of a training and not which of them hold the image; for `vpaudit audit`.


rule participation:
    input:
        PATHS.targets,
        prior_files(),
        few_step_plan,
        code("participation"),
    output:
        PATHS.table("participation"),
        [PATHS.participation(noise) for noise in STUDY.rounds.noise_multiplier],
    log:
        PATHS.log("participation"),
    benchmark:
        PATHS.timing("participation")
    conda:
        "../environment.yml"
    threads: max(1, CORES // 2)
    resources:
        gpu=1,
    params:
        settings=settings("participation"),
    shell:
        stage("participation", "--threads {threads}")
