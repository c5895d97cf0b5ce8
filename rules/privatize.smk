# in:  targets.npz      out: results/<study>/observations/mu=<mu>.npz (what DP-SGD lets out)


rule privatize:
    input:
        PATHS.targets,
        code("mechanism.py", "rng.py", "ranges.py", "stages/images.py"),
    output:
        PATHS.observation("{mu}"),
    log:
        PATHS.log("privatize-{mu}"),
    benchmark:
        PATHS.timing("privatize-{mu}")
    conda:
        "../environment.yml"
    threads: 1
    params:
        settings=settings("privatize"),
    shell:
        stage("privatize", "--mu {wildcards.mu} --threads {threads}")


rule stage_privatize:
    input:
        [PATHS.observation(mu) for mu in STUDY.mu_names],
