# in:  summary, tables, figures, and the arrays whose images the page shows      out: results/<study>/report.html


rule report:
    input:
        PATHS.summary,
        PATHS.run,
        [PATHS.table(table) for table in (*MEASURED, "bounds")],
        [PATHS.figure(name, kind) for name in FIGURES for kind in ("png", "csv")],
        arrays(),
        code("report"),
    output:
        PATHS.report,
    log:
        PATHS.log("report"),
    conda:
        "../environment.yml"
    params:
        settings=settings("report"),
    shell:
        stage("report")
