# in:  the data set's shipped archive      out: results/<study>/targets.npz


rule targets:
    input:
        code("data/read.py", "data/cards.yaml", "stages/images.py"),
    output:
        PATHS.targets,
    benchmark:
        PATHS.timing("targets")
    threads: 1
    params:
        settings=settings("data"),
    shell:
        stage("targets", "--threads {threads}")


# All 70,000 Fashion-MNIST images, for training: public HTTPS, Hugging Face, Debian package or VPAUDIT_MIRROR.
rule full_data:
    output:
        expand(
            "resources/data/full/fashion_mnist/{file}-ubyte.gz",
            file=[
                "train-images-idx3",
                "train-labels-idx1",
                "t10k-images-idx3",
                "t10k-labels-idx1",
            ],
        ),
    shell:
        "python -m vpaudit fetch fashion_mnist"


rule stage_data:
    input:
        PATHS.targets,
