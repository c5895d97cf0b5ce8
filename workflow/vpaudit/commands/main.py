"""The command line: stages (called by the rules), and what a person asks for directly.

Heavy libraries are imported by the command that needs them, so that help and errors come at once.
"""

import argparse
import datetime
import importlib
import inspect
import os
import sys
import time
import traceback

from vpaudit import __version__
from vpaudit.base.errors import VpauditError
from vpaudit.commands import theory
from vpaudit.commands.audit import command as cli_audit
from vpaudit.commands.plan import CALLS_PER_SECOND
from vpaudit.study import depends

EXIT_CODES = """\
exit codes:
  0    done
  1    a bug (traceback)
  2    something you can mend (message and hint), also a wrong command line
  3    `compare` found a difference
  130  interrupted; the same command goes on from there
"""


OWN = ("config", "layout")  # that every stage is given


class Differs(VpauditError):
    """Two result folders differ."""


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    arguments = parser().parse_args(argv)
    started = time.monotonic()
    code, text = 0, ""
    try:
        arguments.run(arguments)
    except Differs as error:
        code, text = 3, str(error)
    except VpauditError as error:
        code, text = 2, f"error: {error}"
    except KeyboardInterrupt:
        code, text = 130, "interrupted; the same command goes on from here"
    except BaseException:
        _log(arguments, started, traceback.format_exc())
        raise
    _log(arguments, started, text or "done")
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
    """The whole command line."""
    top = argparse.ArgumentParser(
        prog="vpaudit", description="See what a differential-privacy budget leaves visible.", epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    top.add_argument("--version", action="version", version=f"vpaudit {__version__}")
    top.add_argument("--log", metavar="FILE", help="append to FILE how the command ended")
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    cli_audit.add_commands(commands)
    theory.add_commands(commands)
    plan = commands.add_parser("plan", help="jobs, network calls, hours and disk of a study, before anything runs")
    plan.add_argument("configfile", nargs="*", help="YAML overlays over the defaults (default: the embedded study)")
    plan.add_argument(
        "--calls-per-second", type=float, default=CALLS_PER_SECOND, help="network calls, > 0 (default: %(default)g)"
    )
    plan.add_argument("--devices", type=int, default=1, help="that work at once, >= 1 (default: %(default)s)")
    plan.add_argument("--shape", type=int, nargs=3, metavar=("C", "H", "W"), help="of images (default: the card's)")
    plan.set_defaults(run=_plan)
    compare = commands.add_parser("compare", help="compare two result folders; exit 3 if they differ")
    compare.add_argument("a", help="e.g. results/embedded")
    compare.add_argument("b", help="another result folder")
    compare.add_argument("--tolerance", type=float, default=1e-4, help="of values, >= 0 (default: %(default)g)")
    compare.set_defaults(run=_compare)
    doctor = commands.add_parser("doctor", help="is everything here that an audit needs? exit 2 if not")
    doctor.add_argument("configfile", nargs="*", help="YAML overlays over the defaults (default: the embedded study)")
    doctor.set_defaults(run=_doctor)
    show = commands.add_parser("show-config", help="print the resolved configuration of a study")
    show.add_argument("configfile", nargs="*", help="YAML overlays over the defaults (default: the embedded study)")
    show.set_defaults(run=_show_config)
    docs = commands.add_parser("docs", help="write the generated pages of this repository")
    docs.add_argument("--check", action="store_true", help="write nothing; exit 2 when a page is out of date")
    docs.set_defaults(run=_docs)
    fetch = commands.add_parser("fetch", help="download a data set, verified, from the first source that answers")
    fetch.add_argument("name", help="data set card, e.g. fashion_mnist")
    fetch.add_argument("--out", default="resources/data/full", help="folder (default: %(default)s)")
    fetch.add_argument("--mirror", help="local folder to look in first (also: VPAUDIT_MIRROR)")
    fetch.set_defaults(run=_fetch)
    public = commands.add_parser("fetch-prior", help="download a public diffusion prior, checked, into our layout")
    public.add_argument("name", help="card of workflow/vpaudit/priors/cards.yaml, e.g. ddpm_cifar10")
    public.add_argument("--out", default="resources/priors", help="folder (default: %(default)s)")
    public.set_defaults(run=_fetch_prior)
    gauss = commands.add_parser("fit-gaussian", help="fit the Gaussian prior to a data set's training images")
    gauss.add_argument("name", nargs="?", help="data set card, e.g. fashion_mnist")
    gauss.add_argument("--config", help="study whose training images, instead of a card's")
    gauss.add_argument("--out", required=True, help="folder to write")
    gauss.set_defaults(run=_fit_gaussian)
    few = commands.add_parser("few-step", help="fit solvers of few calls to a prior, into its folder")
    few.add_argument(
        "--config", default="config/config.yaml", help="study whose data and settings (default: %(default)s)"
    )
    few.add_argument("--prior", required=True, help="diffusers folder, e.g. results/embedded/prior")
    few.add_argument("--threads", type=int, default=os.cpu_count(), help="CPU threads (default: all)")
    few.add_argument(
        "--refine", type=int, metavar="STEPS", help="refine the solvers that are there by gradient, >= 1 (on a GPU)"
    )
    few.add_argument("--seconds", type=float, help="the most for each number of calls refined (default: no limit)")
    few.add_argument("--device", default="auto", help="of the refinement: auto, cpu or cuda (default: auto)")
    few.set_defaults(run=_few_step)
    completion = commands.add_parser("completion", help="print a script that completes this command in a shell")
    completion.add_argument("shell", choices=("bash", "zsh"), help='e.g. eval "$(vpaudit completion bash)"')
    completion.set_defaults(run=_completion)
    _add_stage(commands)
    return top


def _add_stage(commands) -> None:
    """What the rules call; people call snakemake."""
    stage = commands.add_parser("stage", description="One stage of a study, as the rules call it.")
    stage.add_argument("stage", choices=tuple(depends.STAGES), metavar="NAME", help=", ".join(depends.STAGES))
    stage.add_argument("--config", required=True, help="resolved configuration, results/<study>/config.yaml")
    stage.add_argument("--part", help="a value of the grid of mu, or a shard at it: 5_shard=0003")
    stage.add_argument("--mu", help="one value of the grid, > 0; measurements of the prior have none")
    stage.add_argument("--name", help="name of the figure or experiment")
    stage.add_argument("--device", help="auto, cpu or cuda (default: auto)")
    stage.add_argument("--threads", type=int, help="CPU threads (default: all)")
    stage.add_argument(
        "--adopt", action="store_true", default=None, help="prior: go on from other settings' checkpoint"
    )
    stage.add_argument("--until", type=int, help="prior: stop at this step and keep the checkpoint (default: the end)")
    stage.set_defaults(run=_run_stage)


def _run_stage(arguments) -> None:
    """Give a stage's function the options that it takes; the others are refused."""
    from vpaudit.study import config as configuration
    from vpaudit.study.layout import Layout

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
    if arguments.threads:
        import torch

        torch.set_num_threads(max(1, arguments.threads))
    config = configuration.load(arguments.config)
    function(config, Layout(config), **given)


def _plan(arguments) -> None:
    from vpaudit import data
    from vpaudit.commands import plan
    from vpaudit.study import config as configuration

    study = configuration.load(*arguments.configfile)
    if arguments.devices < 1:
        raise VpauditError(f"--devices {arguments.devices} must be >= 1", "give the number of GPUs, or 1")
    own = study.data.folder and [1 if study.data.grey else 3, study.data.size or 0, study.data.size or 0]
    shape = arguments.shape or own or data.card(study.data.name)["shape"]
    if not shape[1]:
        raise VpauditError(f"the size of the images in {study.data.folder} is not known", "set data.size, or --shape")
    print(plan.text(plan.plan(study, arguments.calls_per_second, tuple(shape)), arguments.devices))


def _compare(arguments) -> None:
    from vpaudit.commands import compare

    lines, same = compare.compare(arguments.a, arguments.b, arguments.tolerance)
    print("\n".join(lines))
    if not same:
        raise Differs("the folders differ", "the lines above say where")


def _doctor(arguments) -> None:
    from vpaudit.commands import doctor
    from vpaudit.study import config as configuration

    study = configuration.load(*arguments.configfile)
    checks = doctor.examine(study)
    print(doctor.report(checks))
    bad = [check.name for check in checks if check.state == "error"]
    if bad:
        raise VpauditError(f"not ready: {', '.join(bad)}", "follow the arrows above")


def _show_config(arguments) -> None:
    from vpaudit.study import config as configuration

    study = configuration.load(*arguments.configfile)
    print(configuration.dump(study), end="")


def _docs(arguments) -> None:
    from vpaudit.commands.docs import pages

    for path in pages.write(arguments.check):
        print(f"{path} written")


def _fetch(arguments) -> None:
    from pathlib import Path

    from vpaudit import data

    if arguments.mirror:
        os.environ["VPAUDIT_MIRROR"] = arguments.mirror
    about = data.card(arguments.name)
    print(f"{about['title']}\nlicence: {about['licence']}\nit is used here and never redistributed", flush=True)
    if "hub" in about:
        from vpaudit.data import parquet

        print(parquet.fetch(arguments.name, about, Path(arguments.out), Path(arguments.out).parent / "lock.yaml"))
    else:
        from vpaudit.data import fetch

        print(fetch.fetch(arguments.name, arguments.out))


def _fetch_prior(arguments) -> None:
    from vpaudit.priors import fetch

    about = fetch.card(arguments.name)
    print(f"{about['repo']} at {about['revision']}: licence {about['licence']}; trained on {about['trained_on']}")
    print(fetch.fetch(arguments.name, arguments.out))


def _fit_gaussian(arguments) -> None:
    from vpaudit.stages import priors
    from vpaudit.study import config as configuration
    from vpaudit.study.layout import Layout

    if bool(arguments.name) == bool(arguments.config):
        raise VpauditError("give a data set or --config, one of them", "e.g. vpaudit fit-gaussian fashion_mnist")
    named = {"data": {"name": arguments.name}}
    study = configuration.load(arguments.config) if arguments.config else configuration.resolve(named)
    priors.fit_gaussian(study, Layout(study), arguments.out)


def _few_step(arguments) -> None:
    import torch

    from vpaudit.stages import priors
    from vpaudit.study import config as configuration
    from vpaudit.study.layout import Layout

    torch.set_num_threads(max(1, arguments.threads))
    study = configuration.load(arguments.config)
    if arguments.refine:
        priors.refine_few_step(study, arguments.prior, arguments.refine, arguments.device, arguments.seconds)
    else:
        priors.few_step(study, Layout(study), arguments.prior)


def _completion(arguments) -> None:
    import shtab

    print(shtab.complete(parser(), arguments.shell))
