# in:  targets.npz, prior      out: results/<study>/domain.parquet
# How far the images are from the prior's own kind; `vpaudit audit` asks for it, the default target does not.


rule domain:
    input:
        PATHS.targets,
        prior_files(),
        code("domain"),
    output:
        PATHS.table("domain"),
    log:
        PATHS.log("domain"),
    benchmark:
        PATHS.timing("domain")
    conda:
        "../environment.yml"
    threads: max(1, CORES // 2)
    resources:
        gpu=1,
    params:
        settings=settings("reconstruct"),
    shell:
        stage("domain", "--threads {threads}")
