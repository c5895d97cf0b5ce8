# in:  tables (and, for the image grid, arrays)      out: figures/<study>/<figure>.{pdf,png,csv,txt}, {metrics,claims}.tex


rule figure:
    input:
        figure_inputs,
    output:
        [PATHS.figure("{figure}", kind) for kind in ("pdf", "csv", "txt")],
        png=shown(PATHS.figure("{figure}", "png")),
    log:
        PATHS.log("figure-{figure}"),
    wildcard_constraints:
        figure="|".join(figures.NAMES),
    conda:
        "../environment.yml"
    params:
        settings=settings("figures"),
        caption=caption,
    shell:
        stage("figure", "--name {wildcards.figure}")


rule engine_figure:
    input:
        engine_figure_inputs,
    output:
        [PATHS.engine_figures / f"{{figure}}.{kind}" for kind in ("pdf", "csv", "txt")],
        png=shown(PATHS.engine_figures / "{figure}.png"),
    log:
        PATHS.log("engine-figure-{figure}"),
    conda:
        "../environment.yml"
    params:
        settings=settings("figures"),
        caption=caption,
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
        [PATHS.figure(name, kind) for name in figures.NAMES for kind in figures.KINDS],
        rules.latex.output,
