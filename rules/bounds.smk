# in:  targets.npz, public.npz      out: results/<study>/bounds.parquet


rule bounds:
    input:
        PATHS.targets,
        public_images(),
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
