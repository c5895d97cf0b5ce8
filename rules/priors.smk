# in:  training images      out: results/<study>/prior (diffusers folder with card and sample sheet)
# The embedded study reads the shipped resources/priors/fashion_mnist_dit, so it never trains by accident;
# `make prior` trains anew into results/embedded/prior, `make ship-prior` puts the result into resources/.
NETWORK = STUDY.prior.training.architecture  # the folder of its weights
RESIDUAL = (
    ["card.json", "gaussian.safetensors"] if STUDY.prior.training.residual else []
)


rule train_prior:
    input:
        training_images,
        code("prior"),
    output:
        PATHS.trained_prior / "card.json",
        PATHS.trained_prior / "samples.png",
        PATHS.trained_prior / "scheduler/scheduler_config.json",
        PATHS.trained_prior / NETWORK / "config.json",
        PATHS.trained_prior / NETWORK / "diffusion_pytorch_model.safetensors",
        [PATHS.trained_prior / "gaussian" / name for name in RESIDUAL],
    log:
        PATHS.log("prior"),
    conda:
        "../environment.yml"
    threads: CORES
    params:
        settings=settings("prior"),
    shell:
        stage("prior", "--threads {threads}")


# Few-step solvers belong to a prior and are shipped with it: made where they are missing, and never by accident
# again, whatever a checkout makes of time stamps. To fit anew, delete the file.
rule few_step:
    input:
        [ancient(file) for file in prior_files()],
        ancient(PATHS.gaussian / "gaussian.safetensors"),
    output:
        PATHS.prior / "few_step.json",
    log:
        PATHS.log("few_step"),
    conda:
        "../environment.yml"
    threads: CORES
    params:
        settings=settings("few_step"),
    shell:
        stage("few_step", "--threads {threads}")


# A public prior: its licence is shown, then it is fetched, verified, recorded and brought into our layout.
rule fetch_prior:
    output:
        "resources/priors/{public}/card.json",
        "resources/priors/{public}/unet/diffusion_pytorch_model.safetensors",
    log:
        PATHS.log("fetch-{public}"),
    wildcard_constraints:
        public="|".join(PUBLIC_PRIORS),
    localrule: True
    conda:
        "../environment.yml"
    shell:
        "python -m vpaudit --log {log} fetch-prior {wildcards.public}"


rule fit_gaussian:
    input:
        training_images,
        code("fit_gaussian"),
    output:
        PATHS.results / "gaussian/card.json",
        PATHS.results / "gaussian/gaussian.safetensors",
    log:
        PATHS.log("fit_gaussian"),
    conda:
        "../environment.yml"
    shell:
        stage("fit_gaussian")
