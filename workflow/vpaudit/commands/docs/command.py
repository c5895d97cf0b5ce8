"""`vpaudit docs`: its arguments."""

import argparse


def add_docs(docs: argparse.ArgumentParser) -> None:
    docs.add_argument("--check", action="store_true", help="write nothing; exit 2 when a page is out of date")
    docs.set_defaults(run=_docs)


def _docs(arguments) -> None:
    from vpaudit.commands.docs import pages

    for path in pages.write(arguments.check):
        print(f"{path} written")
