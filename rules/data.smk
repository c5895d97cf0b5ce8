# in:  the data set's shipped archive, or a folder      out: results/<study>/targets.npz

# Of a folder it also lists what was left out, in skipped.csv. That is no output: a study that had no folder before knows
# nothing of such a file, and Snakemake runs nothing again that it knows nothing of.


rule targets:
    input:
        fetched_data,
        code("targets"),
    output:
        PATHS.targets,
    log:
        PATHS.log("targets"),
    benchmark:
        PATHS.timing("targets")
    conda:
        "../environment.yml"
    threads: 1
    params:
        settings=settings("data"),
    shell:
        stage("targets", "--threads {threads}")


# Images that the adversary knows, none of the targets; for an attack of kind given_norm.
rule public:
    input:
        PATHS.targets,
        fetched_data,
        code("public"),
    output:
        PATHS.public,
    log:
        PATHS.log("public"),
    conda:
        "../environment.yml"
    threads: 1
    params:
        settings=settings("data"),
    shell:
        stage("public", "--threads {threads}")


# All 70,000 Fashion-MNIST images, for training: public HTTPS, Hugging Face, Debian package or VPAUDIT_MIRROR.
rule full_data:
    output:
        expand("resources/data/full/fashion_mnist/{name}-ubyte.gz", name=IDX),
    log:
        PATHS.log("full_data"),
    localrule: True
    conda:
        "../environment.yml"
    shell:
        "python -m vpaudit --log {log} fetch fashion_mnist"


# A data set of the hub: the licence is shown, then Parquet files are fetched (resumed, retried), verified and recorded.
rule fetch_data:
    output:
        "resources/data/full/{set}/fetched.json",
    log:
        PATHS.log("fetch-{set}"),
    wildcard_constraints:
        set="|".join(ON_HUB),
    localrule: True
    conda:
        "../environment.yml"
    shell:
        "python -m vpaudit --log {log} fetch {wildcards.set}"


# Attacked images that a prior may have been trained on; not part of the default target: `snakemake overlap`.
rule overlap:
    input:
        PATHS.targets,
        training_images,
        prior_files(),
        code("overlap"),
    output:
        PATHS.results / "overlap.json",
    log:
        PATHS.log("overlap"),
    conda:
        "../environment.yml"
    shell:
        stage("overlap")


rule stage_data:
    input:
        PATHS.targets,
        public_images(),
