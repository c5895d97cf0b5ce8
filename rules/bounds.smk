# in:  targets.npz, training images, unrelated baseline      out: results/<study>/bounds.parquet


rule bounds:
    input:
        PATHS.targets,
        fetched_data,
        PATHS.part("baselines", "unrelated"),
        code("bounds"),
    output:
        PATHS.table("bounds"),
    log:
        PATHS.log("bounds"),
    benchmark:
        PATHS.timing("bounds")
    conda:
        "../environment.yml"
    params:
        settings=settings("bounds"),
    shell:
        stage("bounds")
