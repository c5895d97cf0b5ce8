# in:  targets.npz      out: results/<study>/observations/mu=<part>.npz (what DP-SGD lets out)


rule privatize:
    input:
        PATHS.targets,
        code("privatize"),
    output:
        PATHS.observation("{part}"),
    log:
        PATHS.log("privatize-{part}"),
    benchmark:
        PATHS.timing("privatize-{part}")
    conda:
        "../environment.yml"
    threads: 1
    params:
        settings=settings("privatize"),
    shell:
        stage("privatize", "--part {wildcards.part} --threads {threads}")


rule stage_privatize:
    input:
        [PATHS.observation(part) for part in PARTS],
