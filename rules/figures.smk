# in:  tables (and, for the image grid, arrays)      out: figures/<study>/<figure>.{pdf,png,csv,txt}, {metrics,claims}.tex


rule figure:
    input:
        figure_inputs,
    output:
        [PATHS.figure("{figure}", kind) for kind in ("pdf", "csv", "txt")],
        png=shown(
            PATHS.figure("{figure}", "png"),
            lambda wildcards: captions.CARDS[wildcards.figure]["section"],
        ),
    log:
        PATHS.log("figure-{figure}"),
    wildcard_constraints:
        figure="|".join(figures.NAMES),
    conda:
        "../environment.yml"
    params:
        settings=settings("figures"),
        caption=lambda wildcards: captions.text(
            wildcards.figure, STUDY.model_dump(mode="json")
        ),
    shell:
        stage("figure", "--name {wildcards.figure}")


rule latex:
    input:
        [PATHS.table(table) for table in ("metrics", "baselines", "bounds")],
        PATHS.summary,
        code("latex"),
    output:
        [
            PATHS.figure(name, kind)
            for name in ("metrics", "claims")
            for kind in ("tex", "txt")
        ],
    log:
        PATHS.log("latex"),
    conda:
        "../environment.yml"
    params:
        settings=settings("summary"),
    shell:
        stage("latex")


rule figures:
    input:
        [PATHS.figure(name, kind) for name in FIGURES for kind in figures.KINDS],
        rules.latex.output,
