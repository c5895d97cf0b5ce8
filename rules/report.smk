# in:  summary, tables, figures      out: results/<study>/report.html


rule report:
    input:
        PATHS.summary,
        [
            PATHS.table(table)
            for table in ("metrics", "baselines", "consistency", "bounds")
        ],
        [PATHS.figure(name, kind) for name in figures.NAMES for kind in ("png", "csv")],
        code("report/__init__.py", "report/template.html", "report/style.css"),
        code("study.py", "names.py", "stats.py", "captions.py"),
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
