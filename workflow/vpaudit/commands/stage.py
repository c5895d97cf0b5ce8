"""`vpaudit stage NAME`: one stage of a study, as the rules call it."""

import argparse
import importlib
import inspect

from vpaudit.base import machine
from vpaudit.base.errors import VpauditError
from vpaudit.study import config as configuration
from vpaudit.study import depends
from vpaudit.study.layout import Layout

OWN = ("config", "layout")  # that every stage is given


def add_stage(stage: argparse.ArgumentParser) -> None:
    """Arguments of all stages; each takes some of them."""
    stage.description = "One stage of a study, as the rules call it; people call snakemake."
    stage.add_argument("stage", choices=tuple(depends.STAGES), metavar="NAME", help=", ".join(depends.STAGES))
    stage.add_argument("--config", required=True, help="resolved configuration, results/<study>/config.yaml")
    stage.add_argument("--part", help="a value of the grid of mu, or a shard at it: 5_shard=0003")
    stage.add_argument("--mu", help="one value of the grid, > 0; measurements of the prior have none")
    stage.add_argument("--name", help="name of the figure or experiment")
    stage.add_argument("--device", help="auto, cpu or cuda (default: auto)")
    stage.add_argument("--threads", type=int, help="CPU threads (default: all)")
    stage.add_argument(
        "--adopt", action="store_true", default=None, help="prior: continue from a checkpoint of other settings"
    )
    stage.add_argument("--until", type=int, help="prior: stop at this step and keep the checkpoint (default: the end)")
    stage.set_defaults(run=_run)


def _run(arguments) -> None:
    """Give a stage's function the options that it takes; the others are refused."""
    module = importlib.import_module(f"vpaudit.{depends.STAGES[arguments.stage]}")
    function = getattr(module, arguments.stage)
    given = {key: getattr(arguments, key) for key in ("part", "mu", "name", "device", "adopt", "until")}
    given = {key: value for key, value in given.items() if value is not None}
    takes = inspect.signature(function).parameters
    wrong = [key for key in given if key not in takes]
    missing = [key for key, about in takes.items() if about.default is about.empty and key not in (*given, *OWN)]
    if wrong or missing:
        raise VpauditError(
            f"stage {arguments.stage}: "
            + "; ".join([f"has no --{key}" for key in wrong] + [f"needs --{key}" for key in missing]),
            f"it takes {', '.join(f'--{key}' for key in takes if key not in OWN) or 'no options'}",
        )
    machine.keep_freed_memory()
    if arguments.threads:
        import torch

        torch.set_num_threads(max(1, arguments.threads))
    config = configuration.load(arguments.config)
    function(config, Layout(config), **given)
