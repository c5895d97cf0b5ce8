"""The command line. A command's module is imported when the command is called, so that help and errors come at once.

Built on argparse: importing typer takes six times as long, and every job of a study would pay for it.
"""

import argparse
import datetime
import importlib
import os
import sys
import time
import traceback

from vpaudit import __version__
from vpaudit.base.errors import VpauditError

# What users call, in groups: name, module of this package with a function `add_NAME(parser)`, and one line of help.
COMMANDS = {
    "audit and bounds": (
        ("audit", "audit.command", "attack your own images at your own privacy budget"),
        ("bound", "theory", "what theory allows an adversary"),
        ("account", "theory", "convert noise multiplier, sample rate, steps, delta <-> epsilon <-> mu"),
    ),
    "studies (run by `snakemake`)": (
        ("plan", "plan", "jobs, network evaluations, hours and disk of a study, before anything runs"),
        ("doctor", "doctor", "check that all is here that an audit needs; exit 2 if not"),
        ("compare", "compare", "compare two result folders; exit 3 if they differ"),
        ("domains", "domains", "finished studies of several data sets in one figure and one table of claims"),
        ("show-config", "show_config", "print the resolved configuration of a study"),
        ("init", "init", "lay out a working copy of the workflow, to change rules and settings"),
    ),
    "data and priors": (
        ("fetch", "materials", "download a data set, verified, from the first source that answers"),
        ("fetch-prior", "materials", "download a public diffusion prior, verified, into resources/priors"),
        ("fit-gaussian", "materials", "fit the Gaussian prior to a data set's training images"),
        ("train-prior", "train_prior", "train a prior on your own public images, for `audit`"),
        ("few-step", "materials", "fit samplers of few network evaluations to a prior, into its folder"),
    ),
    "documents and shell": (
        ("docs", "docs.command", "write the generated pages of this repository, or check them"),
        ("completion", "completion", "print a script that completes this command in a shell"),
    ),
}
HIDDEN = (("stage", "stage", ""), ("follow", "follow", ""), ("settle", "settle", ""))  # what rules and run.sh call
ENDING = """\
options:
  -h, --help    show this help, or with a COMMAND that command's
  --version     show the version
  --log FILE    append to FILE how the command ended

examples:
  vpaudit audit --images photos/ --epsilon 8 --steps 1000 --sample-rate 0.01
  vpaudit account --epsilon 8 --delta 1e-5
  vpaudit bound rero --mu 5 --kappa 2e-4
  vpaudit plan config/dpsgd.yaml

exit codes:
  0    done
  1    a bug (traceback)
  2    something you can fix (message and hint), also a wrong command line
  3    `compare` found a difference
  130  interrupted; the same command continues from there
"""


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    arguments = parser().parse_args(argv)
    started = time.monotonic()
    code, text = 0, ""
    try:
        code = arguments.run(arguments) or 0
    except VpauditError as error:
        code, text = 2, f"error: {error}"
    except KeyboardInterrupt:
        code, text = 130, "interrupted; the same command continues from here"
    except BaseException:
        _log(arguments, started, traceback.format_exc())
        raise
    _log(arguments, started, text or (f"exit code {code}" if code else "done"))
    if text:
        print(text, file=sys.stderr)
    return code


def _log(arguments, started: float, text: str) -> None:
    """Append how a command ended to --log; progress stays on the terminal."""
    if arguments.log:
        os.makedirs(os.path.dirname(arguments.log) or ".", exist_ok=True)
        with open(arguments.log, "a", encoding="utf-8") as file:
            now = datetime.datetime.now().isoformat(timespec="seconds")
            file.write(f"{now} {' '.join(sys.argv[1:])} ({time.monotonic() - started:.1f} s): {text}\n")


def parser() -> argparse.ArgumentParser:
    """The whole command line; of a command only the name, until it is called."""
    top = Program(
        prog="vpaudit", usage="vpaudit [--version] [--log FILE] COMMAND ...",
        description="See what a differential-privacy budget leaves visible of images.",
    )  # fmt: skip
    top.add_argument("--version", action="version", version=f"vpaudit {__version__}")
    top.add_argument("--log", metavar="FILE", help="append to FILE how the command ended")
    commands = top.add_subparsers(prog="vpaudit", required=True, metavar="COMMAND", parser_class=Command)
    for name, module, text in (*(command for group in COMMANDS.values() for command in group), *HIDDEN):
        commands.add_parser(name, module=module, help=text, description=text)
    return top


class Program(argparse.ArgumentParser):
    """Shows the commands in groups, which argparse cannot."""

    def format_help(self) -> str:
        groups = (
            f"{title}:\n" + "".join(f"  {name:<13} {text}\n" for name, _, text in group)
            for title, group in COMMANDS.items()
        )
        return "\n".join(
            [
                f"usage: {self.usage}\n\nSee what a differential-privacy budget leaves visible of images.\n",
                *groups,
                ENDING,
            ]
        )


class Command(argparse.ArgumentParser):
    """A command's parser, which asks the command's module for arguments when it is used first.

    Args:
        module: in this package; its `add_NAME(parser)` adds arguments and sets `run`, the function of the arguments.
    """

    def __init__(self, module: str | None = None, **settings):
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **settings)
        self.module = module

    def fill(self) -> None:
        """Add the arguments, once."""
        if self.module:
            source, self.module = importlib.import_module(f"vpaudit.commands.{self.module}"), None
            getattr(source, f"add_{self.prog.split()[-1].replace('-', '_')}")(self)

    def parse_known_args(self, args=None, namespace=None):
        self.fill()
        return super().parse_known_args(args, namespace)
