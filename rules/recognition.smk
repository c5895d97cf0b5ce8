# in:  targets.npz, what is made for each adversary, public images      out: results/<study>/{believed,recognised}.parquet
# What of a reconstruction may be called real, and what is still recognised in it; for `vpaudit audit`.


rule believed:
    input:
        PATHS.targets,
        PATHS.seen(STUDY).values(),
        prior_files(),
        few_step_plan,
        others("public"),
        code("believed"),
    output:
        PATHS.table("believed"),
    log:
        PATHS.log("believed"),
    benchmark:
        PATHS.timing("believed")
    conda:
        "../environment.yml"
    threads: max(1, CORES // 2)
    resources:
        gpu=1,
    params:
        settings=settings("believed"),
    shell:
        stage("believed", "--threads {threads}")


rule recognised:
    input:
        PATHS.targets,
        PATHS.seen(STUDY).values(),
        others("public", "candidates"),
        code("recognised"),
    output:
        PATHS.table("recognised"),
    log:
        PATHS.log("recognised"),
    benchmark:
        PATHS.timing("recognised")
    conda:
        "../environment.yml"
    threads: max(1, CORES // 2)
    resources:
        gpu=1,
    params:
        settings=settings("recognised"),
    shell:
        stage("recognised", "--threads {threads}")
