"""`vpaudit plan`: what a study will cost before anything runs: jobs, network evaluations, hours and disk."""

import argparse
from dataclasses import dataclass

from vpaudit.base.errors import VpauditError
from vpaudit.commands.show_config import add_study
from vpaudit.study import config as configuration
from vpaudit.study import shards
from vpaudit.study.config import Attack, Config

NETWORK_FREE = ("raw", "wiener")
CALLS_PER_SECOND = 200.0  # of the shipped prior in float32 on two processor cores
FLOAT_BYTES = 4
JOB_SECONDS = 7.0  # of a job besides the network: to start Python and torch, to read, measure and write
FIXED_JOBS = 12  # targets, baseline, bounds, collect, summary, latex, report, all, and four figures


def add_plan(command: argparse.ArgumentParser) -> None:
    add_study(command)
    command.add_argument(
        "--calls-per-second", type=float, default=CALLS_PER_SECOND,
        help="network evaluations of one image, > 0 (default: %(default)g)",
    )  # fmt: skip
    command.add_argument("--devices", type=int, default=1, help="that work at once, >= 1 (default: %(default)s)")
    command.add_argument("--shape", type=int, nargs=3, metavar=("C", "H", "W"), help="of images (default: the card's)")
    command.set_defaults(run=_run)


def _run(arguments) -> None:
    from vpaudit import data

    study = configuration.load(*arguments.configfile)
    if arguments.devices < 1:
        raise VpauditError(f"--devices {arguments.devices} must be >= 1", "give the number of GPUs, or 1")
    own = study.data.folder and [1 if study.data.grey else 3, study.data.size or 0, study.data.size or 0]
    shape = arguments.shape or own or data.card(study.data.name)["shape"]
    if not shape[1]:
        raise VpauditError(f"the size of the images in {study.data.folder} is not known", "set data.size, or --shape")
    print(text(plan(study, arguments.calls_per_second, tuple(shape)), arguments.devices))


@dataclass(frozen=True)
class Plan:
    """Totals of a study.

    Attributes:
        jobs: of the graph; network_jobs: those of them that reconstruct; calls: network evaluations of one image;
        hours: of one device at the given speed, network evaluations alone; job_hours: of the longest reconstruct job;
        other_hours: what filling up the batches and all jobs besides the network add;
        comparisons: of two images, each by every metric;
        disk_gib: targets, observations, reconstructions and, where they are kept, their checkpoints.
    """

    images: int
    mus: int
    jobs: int
    network_jobs: int
    comparisons: int
    calls: int
    hours: float
    job_hours: float
    other_hours: float
    disk_gib: float


@dataclass(frozen=True)
class Run:
    """An attack of a study, as often as it runs on each image: on its release, or on one without it (`reference`)."""

    attack: Attack
    draws: int
    reference: bool = False

    @property
    def conditionings(self) -> int:
        """How many of the attack's; without the target the first alone."""
        return 1 if self.reference else len(self.attack.conditioning)

    @property
    def outputs(self) -> int:
        """Reconstructions of each image."""
        return self.draws * self.conditionings

    @property
    def calls(self) -> int:
        """Network evaluations for each image, at most: what two attacks ask alike is asked once."""
        if self.attack.kind in NETWORK_FREE:
            return 0
        steps, told = self.attack.steps, self.attack.knowledge
        once = {"posterior_mean": 1, "given_norm": 1, "heun": 2 * steps - 1}.get(self.attack.kind, steps)
        return (once + 20 * [told.sigma, told.lam].count("prior")) * self.outputs  # two for each halving of a bracket

    def comparisons(self, unrelated: int) -> int:
        """Of each image's outputs with each other, with the target and with unrelated images."""
        if self.reference:
            return self.outputs
        return (self.draws * (self.draws - 1) // 2 + self.draws + unrelated) * self.conditionings


def runs(config: Config) -> list[Run]:
    """Every attack on every release of an image at one mu."""
    without = [Run(attack, config.success.draws, True) for attack in config.compared]
    return [Run(attack, attack.draws) for attack in config.attacks] + without * len(config.success.references)


def plan(config: Config, calls_per_second: float, shape: tuple[int, int, int]) -> Plan:
    """Cost of a study.

    Args:
        calls_per_second: of the network on one image, on the device meant; > 0 (measure: `snakemake benchmarks`).
        shape: (C, H, W) of the images.
    """
    if not calls_per_second > 0:
        raise VpauditError(f"calls per second {calls_per_second:g} must be > 0", "measure it: snakemake benchmarks")
    images, mus, names = config.data.images, len(config.mechanism.mu), shards.names(config)
    every = runs(config)
    per_image, kept = sum(run.calls for run in every), sum(run.outputs for run in every)
    kept *= 2 if config.jobs.keep_checkpoints else 1  # checkpoints are as large as what they lead to
    stored = 1 if config.jobs.store == "uint8" else FLOAT_BYTES
    pixels, learnt_on = shape[0] * shape[1] * shape[2], 0
    if config.public_images:
        from vpaudit.attack.given_norm import CALIBRATION as learnt_on  # at each mu
    calls = (per_image * images + learnt_on) * mus
    pairs = sum(run.comparisons(config.evaluate.unrelated) for run in every)
    sizes, rows = [len(shards.find(config, name)) for name in names], config.prior.rows
    jobs = 3 * len(names) + FIXED_JOBS + config.public_images
    filled = per_image * sum(-(-size // rows) * rows for size in sizes) + learnt_on * mus
    return Plan(
        images=images,
        mus=mus,
        jobs=jobs,
        network_jobs=len(names),
        comparisons=images * (mus * pairs + config.evaluate.unrelated + 1),
        calls=calls,
        hours=calls / calls_per_second / 3600,
        job_hours=(per_image * max(sizes) + learnt_on) / calls_per_second / 3600,
        other_hours=((filled - calls) / calls_per_second + JOB_SECONDS * jobs) / 3600,
        disk_gib=pixels * images * (1 + mus * (FLOAT_BYTES + kept * stored)) / 2**30,
    )


def text(found: Plan, devices: int) -> str:
    """What the command prints."""
    wall = max(found.job_hours * -(-found.network_jobs // devices), found.hours / devices) + found.other_hours
    spent = f"{60 * wall:.0f} minutes" if wall < 2 else f"{wall:.0f} hours"
    lines = [
        f"images           {found.images:,} at {found.mus} values of mu",
        f"jobs             {found.jobs:,}; {found.network_jobs} of them run the network, "
        f"{60 * found.job_hours:.1f} minutes each",
        f"evaluations      {found.calls:,} of the network",
        f"comparisons      {found.comparisons:,} of two images by every metric",
        f"device hours     {found.hours:.2f}",
        f"wall clock       about {spent} on {devices} device{'s' * (devices != 1)}, with all that jobs do",
        f"disk             {found.disk_gib:.2f} GiB at most",
    ]
    return "\n".join(lines)
