"""`vpaudit completion SHELL`: a script for the shell, from the parsers of all commands."""

import argparse

import shtab

from vpaudit.commands import main


def add_completion(completion: argparse.ArgumentParser) -> None:
    completion.add_argument("shell", choices=("bash", "zsh"), help='e.g. eval "$(vpaudit completion bash)"')
    completion.set_defaults(run=_completion)


def _completion(arguments) -> None:
    top = main.parser()
    commands = next(action for action in top._actions if isinstance(action, argparse._SubParsersAction))
    for command in commands.choices.values():
        command.fill()
    print(shtab.complete(top, arguments.shell))
