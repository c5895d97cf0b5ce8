"""`vpaudit domains`: finished studies of several data sets in one figure and one table of claims."""

import argparse
from pathlib import Path


def add_domains(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "studies", nargs="+", type=Path, metavar="RESULTS", help="e.g. results/faces results/portraits"
    )
    command.add_argument(
        "--show",
        nargs="*",
        default=[],
        metavar="STUDY",
        help="studies whose images may be shown (default: none)",
    )
    command.add_argument("--results", type=Path, default=Path("results/domains"), help="(default: %(default)s)")
    command.add_argument("--figures", type=Path, default=Path("figures/domains"), help="(default: %(default)s)")
    command.add_argument("--style", default="default", help="of figures, a name or YAML file (default: %(default)s)")
    command.set_defaults(run=_run)


def _run(arguments) -> None:
    from vpaudit.report import domains

    found = domains.studies(arguments.studies)
    domains.write(found, arguments.results, arguments.figures, arguments.show, arguments.style)
    print(f"{arguments.results}: claims.csv, endings.csv; {arguments.figures}: domains.png, .pdf and its numbers")
