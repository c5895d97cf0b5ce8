# in:  tables (and, for the image grid, arrays)      out: figures/<study>/<figure>.{pdf,png,csv}


rule figure:
    input:
        figure_inputs,
        code("figures/__init__.py", "figures/style.py", "figures/axes.py"),
        code("study.py", "names.py", "stats.py"),
    output:
        [PATHS.figure("{figure}", kind) for kind in ("pdf", "png", "csv")],
    log:
        PATHS.log("figure-{figure}"),
    conda:
        "../environment.yml"
    params:
        settings=settings("figures"),
    shell:
        stage("figure", "--name {wildcards.figure}")


rule engine_figure:
    input:
        engine_figure_inputs,
        code(
            "figures/__init__.py",
            "figures/panels.py",
            "figures/style.py",
            "figures/axes.py",
        ),
        code("study.py", "names.py", "stats.py"),
    output:
        [PATHS.engine_figures / f"{{figure}}.{kind}" for kind in ("pdf", "png", "csv")],
    log:
        PATHS.log("engine-figure-{figure}"),
    conda:
        "../environment.yml"
    params:
        settings=settings("figures"),
    shell:
        stage("figure", "--name {wildcards.figure}")


rule figures:
    input:
        [
            PATHS.figure(name, kind)
            for name in figures.NAMES
            for kind in ("pdf", "png", "csv")
        ],
