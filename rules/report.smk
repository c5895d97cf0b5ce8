# in:  summary, tables, figures, and the arrays whose images the page shows      out: results/<study>/report.html


rule report:
    input:
        PATHS.summary,
        [
            PATHS.table(table)
            for table in ("metrics", "baselines", "consistency", "bounds")
        ],
        [PATHS.figure(name, kind) for name in figures.NAMES for kind in ("png", "csv")],
        arrays(),
        code(
            "report/__init__.py",
            "report/words.py",
            "report/sprites.py",
            "report/explorer.py",
            "report/static.py",
            "report/template.html",
            "report/explorer.html",
            "report/style.css",
            "report/chart.js",
            "report/page.js",
            "figures/curves.py",
            "figures/style.py",
        ),
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
