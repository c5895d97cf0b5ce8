# in:  targets.npz, prior      out: results/<study>/benchmarks/{peers,overhead,network}.parquet, figures/<study>-engine/peers.*
# Ratios against other libraries and against the bare network, in one run; not part of the default target.


rule benchmark_table:
    input:
        PATHS.targets,
        prior_files(),
        PATHS.prior / "few_step.json",
        "benchmarks/run.py",
        "benchmarks/peers.py",
        code("reconstruct"),
    output:
        PATHS.results / "benchmarks/{what}.parquet",
    log:
        PATHS.log("benchmark-{what}"),
    wildcard_constraints:
        what="peers|overhead|network",
    conda:
        "../environment.yml"
    threads: CORES
    resources:
        gpu=1,
    shell:
        f"python benchmarks/run.py {{wildcards.what}} --config {PATHS.config} --out {{output}} "
        "--threads {threads} > {log}"


rule benchmarks:
    input:
        [
            PATHS.results / f"benchmarks/{what}.parquet"
            for what in ("peers", "overhead", "network")
        ],
        experiment_figures("benchmarks"),
