# in:  observations/mu=<part>.npz, priors      out: results/<study>/{reconstructions,references}/mu=<part>.npz
# One job a mu, all attacks inside, because starting torch and diffusers costs seconds. Finished shards are in work/.


rule reconstruct:
    input:
        PATHS.observation("{part}"),
        prior_files(),
        PATHS.gaussian / "gaussian.safetensors",
        few_step_plan,
        public_images(),
        code("reconstruct"),
    output:
        PATHS.reconstruction("{part}"),
        PATHS.references("{part}"),
    log:
        PATHS.log("reconstruct-{part}"),
    benchmark:
        PATHS.timing("reconstruct-{part}")
    priority: 1  # the longest jobs first: at the end no core waits for one
    conda:
        "../environment.yml"
    threads: max(1, CORES // max(2, len(PARTS)))
    resources:
        gpu=1,
    params:
        settings=settings("reconstruct"),
    shell:
        stage("reconstruct", "--part {wildcards.part} --threads {threads}")


rule stage_reconstruct:
    input:
        [f(part) for f in (PATHS.reconstruction, PATHS.references) for part in PARTS],
