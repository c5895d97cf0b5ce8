"""`vpaudit audit`: what a training set-up leaves visible of people's own images."""

import argparse
import os
import sys
from pathlib import Path

from vpaudit.base import places
from vpaudit.base.adversaries import ADVERSARIES
from vpaudit.base.errors import VpauditError
from vpaudit.commands import options

ABOUT = """\
Attack your own images at your own privacy budget, and report how much noise hides them.

The images are brought to the prior's shape and go through the same rules as the studies: release, reconstruction,
measurement, bounds, figures, page. Everything stays on this machine, readable by you alone.
"""
EXAMPLES = """\
examples:
  vpaudit audit --images photos/ --epsilon 8 --delta 1e-5 --steps 1000 --sample-rate 0.01
  vpaudit audit --images photos/ --epsilon 1 8 50 --steps 1000 --sample-rate 0.01 --adversary final_model
  vpaudit audit --images photos.zip --noise-multiplier 1 --redact --out audit
  vpaudit audit --images scans.npz --mu 5 10 --limit 32 --dry-run
  vpaudit audit --run run.vpaudit --model my_module:build

Without --quick the same command goes on from a first look; nothing is attacked twice.

exit codes: 0 done; 1 a bug; 2 something you can fix (message and hint); 130 interrupted (the same command goes on)
"""


def add_audit(audit: argparse.ArgumentParser) -> None:
    audit.description, audit.epilog = ABOUT, EXAMPLES
    audit.set_defaults(run=_audit)
    add = audit.add_argument
    add("--images", metavar="DIR", help="folder, zip, tar or npz of images")
    known = audit.add_mutually_exclusive_group()
    options.add(known, "--epsilon", "--noise-multiplier", "--mu", nargs="+")
    options.add(audit, "--delta", "--steps", "--sample-rate")
    add(
        "--adversary", choices=ADVERSARIES, default="participation_unknown",
        help="whom the noise recommended is to stop; all are attacked (default: %(default)s)",
    )  # fmt: skip
    add(
        "--max-grad-norm", type=float, metavar="C", default=1.0,
        help="clipping norm of an image in [-1, 1], > 0 (default: 1, below every image's norm: all are clipped)",
    )  # fmt: skip
    add(
        "--prior", metavar="NAME|PATH",
        help="a shipped or fetched prior, or a diffusers folder (default: the one at hand that knows the images best)",
    )  # fmt: skip
    add("--gaussian", metavar="DIR", help="Gaussian prior of that shape (default: one found beside it)")
    add(
        "--size",
        type=int,
        metavar="N",
        help="side to bring images to (default: the prior's; their own, at most 256, if it takes any)",
    )
    add("--grey", action="store_true", help="bring images to one channel (default: as the prior has)")
    add("--limit", type=int, metavar="N", help="images attacked at most, >= 4 (default: 64; of a run 10)")
    add(
        "--margin", type=float, metavar="M", default=0.05,
        help="share recovered that counts as nothing, in (0, 1): the answer is the noise that keeps every attack below "
        "it (default: %(default)g)",
    )  # fmt: skip
    add(
        "--public", metavar="DIR",
        help="public images of the same kind, as for --images, which tell what of a reconstruction may be called "
        "real (default: test images of the data set that the prior's card names, where it is at hand)",
    )  # fmt: skip
    add(
        "--labels", action="store_true",
        help="the images' folders are classes: tell how often the class is named from a reconstruction (the public "
        "images need the same classes)",
    )  # fmt: skip
    add(
        "--utility", metavar="DIR", nargs="?", const="",
        help="what noise costs: accuracy of a small classifier trained by DP-SGD at every budget, on images in "
        "a folder a class (default: those of --images)",
    )  # fmt: skip
    add("--quick", action="store_true", help="a first look within minutes: ten images, few noise levels; see below")
    add("--out", metavar="DIR", help="of page, tables, answer (default: results/<study>/audit of the working folder)")
    add("--pdf", action="store_true", help="also the page as report.pdf, by the system's Chromium")
    add("--redact", action="store_true", help="put metrics in place of images into --out")
    add("--show-names", action="store_true", help="let the names of folder and files into --out")
    add("--cores", type=int, metavar="N", default=os.cpu_count(), help=">= 1 (default: all; here %(default)s)")
    add("--dry-run", action="store_true", help="read the images, say what would be done and at what cost")
    _add_run(audit.add_argument_group("a recorded training, in place of images and budget (docs/own-training.md)"))


def _add_run(recorded) -> None:
    recorded.add_argument("--run", dest="recorded", metavar="DIR", help="what vpaudit.opacus.Recorder wrote")
    recorded.add_argument("--model", metavar="MODULE:NAME", help="function without arguments that gives the network")
    recorded.add_argument("--step", type=int, metavar="N", help="a recorded step (default: the last)")
    for name in ("mean", "std"):
        recorded.add_argument(
            f"--normalised-{name}", type=float, nargs="+", metavar="X", default=[0.5],
            help=f"{name} by which the training normalised images of [0, 1], one or one a channel (default: 0.5)",
        )  # fmt: skip


def _audit(arguments) -> None:
    if arguments.recorded:
        from vpaudit.commands.audit import run

        return run.audit(arguments)
    if not arguments.images or (arguments.epsilon, arguments.noise_multiplier, arguments.mu) == (None, None, None):
        raise VpauditError(
            "an audit needs images and a budget, or a recorded training",
            "give --images DIR and one of --epsilon, --noise-multiplier and --mu; or --run DIR and --model MODULE:NAME",
        )
    from vpaudit.commands import doctor, plan
    from vpaudit.commands.audit import answer, budget, output, pdf, utility
    from vpaudit.commands.audit import job as audit
    from vpaudit.commands.audit import prior as priors
    from vpaudit.study import config

    if arguments.cores < 1:
        raise VpauditError(f"--cores {arguments.cores} must be >= 1", "give the number of processor cores")
    if arguments.pdf:
        pdf.browser()  # where there is none, that is told before anything is computed
    setup = budget.setup(**options.training(arguments), adversary=arguments.adversary)
    out = Path(arguments.out).resolve() if arguments.out else None
    output.check_apart(arguments.images, *filter(None, [out, places.home() / "results"]))
    if out:
        output.check(out)
    _say(privacy(arguments.redact, arguments.show_names))
    if arguments.prior:
        prior = priors.named(arguments.prior, arguments.gaussian)
    else:
        prior = priors.best(arguments.images, arguments.gaussian, arguments.size, arguments.grey, config.Config().seed)
    job = audit.prepare(
        arguments.images,
        setup,
        prior,
        max_grad_norm=arguments.max_grad_norm,
        size=arguments.size,
        grey=arguments.grey,
        limit=64 if arguments.limit is None else arguments.limit,
        margin=arguments.margin,
        redact=arguments.redact,
        show_names=arguments.show_names,
        quick=arguments.quick,
        public=arguments.public,
        labels=arguments.labels,
        utility_of=arguments.images if arguments.utility == "" else arguments.utility,
    )
    cost = [*prior.remarks, plan.text(plan.plan(job.config, prior.calls_per_second, job.shape), 1)]
    cost = "\n".join(cost + ([utility.cost(job.labelled, setup)] if job.labelled else []))
    if arguments.dry_run:
        facts = job.facts()
        print("\n".join([*facts["reading"], f"{facts['images']} to attack, brought to {facts['shape']}"]))
        print("".join(f"{name}: {reason}\n" for name, reason in job.reading.left_out()), end="")
        print("\n".join([*facts["warnings"], "", cost, ""]))
        print(doctor.report(doctor.environment(job.config)), end="\n\n")
        print(config.dump(job.config), end="")
        return
    _say("\n".join(job.reading.lines()), cost)
    found = audit.run(job, out, arguments.cores, arguments.pdf)
    print(answer.text(found))
    reasons = places.home() / "results" / found["study"] / "left_out.csv"
    left = f" (with reasons: {reasons})" if job.reading.left_out() else ""
    print(f"\n{found['images']} images audited, {len(job.reading.left_out())} left out{left}")
    print(f"Page: {found['out']}/report.html\nTables, figures, answer: {found['out']}/")


def _say(*paragraphs: str) -> None:
    print("\n".join(paragraphs), file=sys.stderr, flush=True)


def privacy(redact: bool, show_names: bool) -> str:
    """What the user learns of the images' privacy before anything is read."""
    shown = (
        "Page and figures in the output folder show metrics in place of images (--redact); results/ still shows them."
        if redact
        else "The page, the figures and results/ will SHOW the images and what attacks make of them: share them only "
        "with those who may see the images, or use --redact."
    )
    names = "The names of folder and files will be shown (--show-names)." if show_names else "File names are left out."
    return f"Private: all files are written readable by their owner only, and nothing is uploaded.\n{shown}\n{names}"
