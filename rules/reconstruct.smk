# in:  observations/mu=<mu>.npz, priors      out: results/<study>/reconstructions/mu=<mu>.npz
# One job a mu, all attacks inside, because starting torch and diffusers costs seconds. Finished shards lie in work/.


rule reconstruct:
    input:
        PATHS.observation("{mu}"),
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
            "priors/schedule.py",
        ),
    output:
        PATHS.reconstruction("{mu}"),
    log:
        PATHS.log("reconstruct-{mu}"),
    benchmark:
        PATHS.timing("reconstruct-{mu}")
    conda:
        "../environment.yml"
    threads: max(1, workflow.cores // max(2, len(STUDY.mechanism.mu)))
    resources:
        gpu=1,
    params:
        settings=settings("reconstruct"),
    shell:
        stage("reconstruct", "--mu {wildcards.mu} --threads {threads}")


rule stage_reconstruct:
    input:
        [PATHS.reconstruction(mu) for mu in STUDY.mu_names],
