# in:  targets.npz, prior      out: results/<study>/benchmarks/{peers,overhead}.parquet, figures/<study>-engine/peers.*
# Ratios against other libraries and against the bare network, in one run; not part of the default target.


rule benchmark_table:
    input:
        PATHS.targets,
        prior_files(),
        PATHS.prior / "few_step.json",
        "benchmarks/run.py",
        "benchmarks/peers.py",
        code("attack.py", "samplers.py", "fewstep.py", "priors/network.py"),
    output:
        PATHS.results / "benchmarks/{what}.parquet",
    log:
        PATHS.log("benchmark-{what}"),
    wildcard_constraints:
        what="peers|overhead",
    conda:
        "../environment.yml"
    threads: workflow.cores
    resources:
        gpu=1,
    shell:
        f"python benchmarks/run.py {{wildcards.what}} --config {PATHS.config} --out {{output}} "
        "--threads {threads} > {log}"


rule benchmarks:
    input:
        [PATHS.results / f"benchmarks/{what}.parquet" for what in ("peers", "overhead")],
        [PATHS.figure("peers", kind) for kind in figures.KINDS],
