"""`vpaudit domains`: finished studies of several data sets in one figure and one table of claims."""

import argparse
from pathlib import Path

from vpaudit.base.errors import VpauditError


def add_domains(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "studies", nargs="*", type=Path, metavar="RESULTS", help="e.g. results/faces results/portraits"
    )
    command.add_argument(
        "--show",
        nargs="*",
        default=[],
        metavar="STUDY",
        help="studies whose images may be shown (default: none)",
    )
    command.add_argument(
        "--recognised", nargs="+", default=[], type=Path, metavar="RESULTS",
        help="studies in which `snakemake recognition` was run: one figure of what is recognised in them",
    )  # fmt: skip
    command.add_argument("--results", type=Path, default=Path("results/domains"), help="(default: %(default)s)")
    command.add_argument("--figures", type=Path, default=Path("figures/domains"), help="(default: %(default)s)")
    command.add_argument("--style", default="default", help="of figures, a name or YAML file (default: %(default)s)")
    command.set_defaults(run=_run)


def _run(arguments) -> None:
    from vpaudit.report import domains

    if not arguments.studies + arguments.recognised:
        raise VpauditError("no study is named", "give results of finished studies, or --recognised with some")
    places = (arguments.results, arguments.figures)
    if arguments.studies:
        found = domains.studies(arguments.studies)
        domains.write(found, *places, arguments.show, arguments.style)
        print(f"{arguments.results}: claims.csv, endings.csv; {arguments.figures}: domains.png, .pdf and its numbers")
    if arguments.recognised:
        domains.write_recognised(arguments.recognised, *places, arguments.style)
        print(f"{arguments.results}: recognition.csv; {arguments.figures}: recognition.png, .pdf and its numbers")
