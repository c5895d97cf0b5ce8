# in:  the data set's shipped archive, or a folder      out: results/<study>/targets.npz, of a folder skipped.csv


rule targets:
    input:
        code("data/read.py", "data/local.py", "data/decode.py", "data/cards.yaml"),
        code("stages/images.py"),
    output:
        PATHS.targets,
        [PATHS.skipped] if STUDY.data.folder else [],
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


# All 70,000 Fashion-MNIST images, for training: public HTTPS, Hugging Face, Debian package or VPAUDIT_MIRROR.
rule full_data:
    output:
        expand("resources/data/full/fashion_mnist/{name}-ubyte.gz", name=IDX),
    log:
        PATHS.log("full_data"),
    conda:
        "../environment.yml"
    shell:
        "python -m vpaudit --log {log} fetch fashion_mnist"


rule stage_data:
    input:
        PATHS.targets,
