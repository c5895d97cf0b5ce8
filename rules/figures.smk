# in:  tables (and, for the image grid, arrays)      out: figures/<study>/<figure>.{pdf,png,csv}


def figure_inputs(wildcards):
    tables = [
        PATHS.table(table)
        for table in ("metrics", "baselines", "consistency", "bounds")
    ]
    arrays = [
        PATHS.targets,
        *(
            f(mu)
            for mu in STUDY.mu_names
            for f in (PATHS.observation, PATHS.reconstruction)
        ),
    ]
    return tables + (arrays if wildcards.figure == "reconstructions" else [])


rule figure:
    input:
        figure_inputs,
        code("figures/__init__.py", "figures/style.py"),
    output:
        [PATHS.figure("{figure}", kind) for kind in ("pdf", "png", "csv")],
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
