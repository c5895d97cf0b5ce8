"""`vpaudit plan`: what a study will cost before anything runs: jobs, network calls, hours and disk."""

from dataclasses import dataclass

from vpaudit.config import Attack, Config
from vpaudit.errors import VpauditError

NETWORK_FREE = ("raw", "wiener")
CALLS_PER_SECOND = 600.0  # of the shipped prior on two processor cores
FLOAT_BYTES = 4


@dataclass(frozen=True)
class Plan:
    """Totals of a study.

    Attributes:
        jobs: of the graph's stages that grow with mu, and those that do not; calls: network calls on one image;
        hours: of one device at the given speed, network calls alone; job_hours: of one reconstruct job;
        disk_gib: observations, reconstructions and their checkpoints, before compression.
    """

    images: int
    mus: int
    jobs: int
    calls: int
    hours: float
    job_hours: float
    disk_gib: float


def calls_of(attack: Attack) -> int:
    """Network calls on one image at one mu: all conditionings and draws."""
    if attack.kind in NETWORK_FREE:
        return 0
    once = {"posterior_mean": 1, "heun": 2 * attack.steps - 1}.get(attack.kind, attack.steps)
    extra = 0
    if attack.knowledge.sigma == "prior" or attack.knowledge.lam == "prior":
        extra = 20 * ((attack.knowledge.sigma == "prior") + (attack.knowledge.lam == "prior"))  # two a bisection
    return (once + extra) * attack.draws * len(attack.conditioning)


def plan(config: Config, calls_per_second: float, shape: tuple[int, int, int]) -> Plan:
    """Cost of a study.

    Args:
        calls_per_second: of the network on one image, on the device meant; > 0 (measure: `snakemake benchmarks`).
        shape: (C, H, W) of the images.
    """
    if not calls_per_second > 0:
        raise VpauditError(f"calls per second {calls_per_second:g} must be > 0", "measure it: snakemake benchmarks")
    images, mus = config.data.images, len(config.mechanism.mu)
    per_image = sum(calls_of(attack) for attack in config.attacks)
    arrays = 1 + 2 * sum(attack.draws * len(attack.conditioning) for attack in config.attacks)  # and checkpoints
    pixels = shape[0] * shape[1] * shape[2]
    calls = per_image * images * mus
    return Plan(
        images, mus, 3 * mus + 9, calls, calls / calls_per_second / 3600, calls / mus / calls_per_second / 3600,
        arrays * pixels * FLOAT_BYTES * images * mus / 2**30,
    )  # fmt: skip


def text(found: Plan, devices: int) -> str:
    """What the command prints."""
    wall = max(found.job_hours * -(-found.mus // devices), found.hours / devices)
    lines = [
        f"images           {found.images:,} at {found.mus} values of mu",
        f"jobs             {found.jobs:,}; {found.mus} run the network, {60 * found.job_hours:.1f} minutes each",
        f"network calls    {found.calls:,}",
        f"device hours     {found.hours:.2f}",
        f"wall clock       {wall:.2f} hours on {devices} device{'s' * (devices != 1)}, network calls alone",
        f"disk             {found.disk_gib:.2f} GiB at most",
    ]
    return "\n".join(lines)
