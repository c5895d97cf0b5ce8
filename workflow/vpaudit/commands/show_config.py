"""`vpaudit show-config`, and the argument that commands about a study share."""

import argparse

from vpaudit.study import config as configuration


def add_study(command: argparse.ArgumentParser) -> None:
    """The argument `configfile`."""
    command.add_argument(
        "configfile", nargs="*", help="YAML files, each laid over those before (default: the embedded study)"
    )


def add_show_config(show: argparse.ArgumentParser) -> None:
    add_study(show)
    show.set_defaults(run=_show_config)


def _show_config(arguments) -> None:
    print(configuration.dump(configuration.load(*arguments.configfile)), end="")
