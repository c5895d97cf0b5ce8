# in:  observations/mu=<part>.npz, priors      out: results/<study>/reconstructions/mu=<part>.npz
# One job a mu, all attacks inside, because starting torch and diffusers costs seconds. Finished shards lie in work/.


rule reconstruct:
    input:
        PATHS.observation("{part}"),
        prior_files(),
        PATHS.gaussian / "gaussian.safetensors",
        few_step_plan,
        code(
            "attack.py",
            "samplers.py",
            "fewstep.py",
            "knowledge.py",
            "mechanism.py",
            "journal.py",
            "stages/images.py",
        ),
        code(
            "priors/base.py",
            "priors/network.py",
            "priors/gaussian.py",
            "priors/spectral.py",
            "priors/schedule.py",
        ),
    output:
        PATHS.reconstruction("{part}"),
    log:
        PATHS.log("reconstruct-{part}"),
    benchmark:
        PATHS.timing("reconstruct-{part}")
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
        [PATHS.reconstruction(part) for part in PARTS],
