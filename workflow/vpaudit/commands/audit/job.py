"""`vpaudit audit`: people's own images and training set-up through the graph of the studies, and what follows from it.

The images are read once, brought to the prior's shape and written, without their names, into results/<study>/; the rest
is a study like any other. Nothing leaves this machine, and everything is written readable by its owner alone.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from vpaudit import data
from vpaudit.base import files, pixels, places
from vpaudit.base.denoiser import AnySize
from vpaudit.base.errors import VpauditError
from vpaudit.commands import init
from vpaudit.commands.audit import answer, budget, others, page, pdf, utility
from vpaudit.commands.audit.others import Others
from vpaudit.commands.audit.output import Output
from vpaudit.commands.audit.prior import FEWEST, Prior, check_enough, own_side
from vpaudit.study import config as configuration
from vpaudit.study.config import Attack, Config
from vpaudit.study.layout import MEASURED, Layout

STDERR = 2  # the answer alone goes to the standard output
PRIVATE = 0o077  # taken from the rights of every file
TABLES = (*MEASURED, "bounds", "domain", "participation", "believed", "recognised")
QUICK = 10  # images of a first look, and of every shard, so that what it computed is found again
FIRST_LOOK = (
    "A first look (--quick): at most ten images, few noise levels, no random samples, no visual µ. The same command "
    "without --quick goes on from what it computed."
)
FEW = 20  # images below which intervals say little
IMAGE_FIGURES = ("reconstructions",)
IMAGE_URI = re.compile(r"data:image/(?:png|jpe?g|webp|gif);base64,([A-Za-z0-9+/=]+)")


@dataclass(frozen=True)
class Job:
    """An audit, ready to run: its study, what was read, what was asked, and what the reader must know."""

    config: Config
    reading: data.Reading
    chosen: data.ImageSet
    setup: budget.Setup
    warnings: list[str]
    show_names: bool
    others: Others
    first_look: Config | None = None  # whose checkpoints this one takes over, if it was run
    labelled: data.ImageSet | None = None  # on which a classifier shows what noise costs

    def names(self) -> list[str]:
        """The file each audited image came from."""
        return [self.reading.names[int(np.flatnonzero(self.reading.images.ids == i)[0])] for i in self.chosen.ids]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the images as they are attacked."""
        height, width, *channels = self.chosen.images.shape[1:]
        return (*(channels or (1,)), height, width)

    def facts(self) -> dict:
        """What the answer says of the images and of the run."""
        channels, height, width = self.shape
        colour = "three channels" if channels == 3 else "grey"
        return {
            "study": self.config.study,
            "images": len(self.chosen),
            "reading": self.reading.lines(),
            "shape": f"{height}×{width}, {colour}: the largest centred square, resized by Lanczos",
            "prior": Path(self.config.prior.path).name,
            "public": self.others.source,
            "unbelieved": self._unbelieved(),
            "warnings": self.warnings,
        }

    def _unbelieved(self) -> str:
        """Why it is not told what of a reconstruction may be called real, and which command tells it."""
        if self.first_look is None:
            return "What may be called real takes random samples: the same command without --quick tells it."
        return (
            "Public images of the same kind tell what may be called real, and none are at hand: give --public DIR, a "
            "folder of at least 20 of them, better 100."
        )


# ---------------------------------------------------------------- before the run


def prepare(
    images: str,
    setup: budget.Setup,
    prior: Prior,
    *,
    max_grad_norm: float = 1.0,
    size: int | None = None,
    grey: bool = False,
    limit: int = 64,
    redact: bool = False,
    show_names: bool = False,
    margin: float = Config().evaluate.margin,
    quick: bool = False,
    public: str | None = None,
    labels: bool = False,
    utility_of: str | None = None,
    seed: int = Config().seed,
) -> Job:
    """Read the images and make the study's configuration; writes nothing.

    Raises:
        VpauditError: no usable images or only one, a size or colour the prior does not have, a value out of range.
    """
    if isinstance(prior.shape, AnySize):
        prior = prior.sized(own_side(images, size))
    channels, side = prior.shape[0], prior.shape[1]
    if size not in (None, side):
        raise VpauditError(f"--size {size}, but the prior makes images of {side}", f"leave it out, or --size {side}")
    if grey and channels != 1:
        raise VpauditError(
            "--grey, but the prior makes images in colour", "leave it out, or name a prior of grey images"
        )
    if not 0 < max_grad_norm < np.inf:
        raise VpauditError(f"--max-grad-norm {max_grad_norm:g} must be > 0", "give the clipping norm of the training")
    if not 0 < margin < 1:
        raise VpauditError(f"--margin {margin:g} must be in (0, 1)", "give the share recovered that is nothing to you")
    if limit < FEWEST:
        raise VpauditError(f"--limit {limit} must be >= {FEWEST}", "each image is compared with others; 20 are better")
    reading = data.read_local(images, side, channels == 1, "", channels == 3, seed, max(data.local.MOST, limit))
    check_enough(reading)
    chosen = _chosen(reading.images, limit, seed)
    flat = pixels.signed(chosen.images).reshape(len(chosen), -1)
    norms = [*np.linalg.norm(flat, axis=1), _typical_norm(prior)]
    low, high = budget.measurable(np.array(norms), max_grad_norm, prior.sigma_range, setup.delta)
    asked = [a.mu for a in setup.asked]
    grid = budget.grid(asked, low, high)
    warnings = [*prior.warnings, *(_outside(a, low, high) for a in setup.asked if not low <= a.mu <= high)]
    if len(chosen) < FEW:
        warnings.append(
            f"Only {len(chosen)} images: limits are wide, so more noise is asked for than more images would need."
        )
    warnings += _known(prior.gaussian, reading.images)
    options = (setup, max_grad_norm, prior, redact, _title(images, show_names), margin, seed)
    labelled = utility.labelled(utility_of, setup, prior.shape, seed) if utility_of else None
    beside = others.others(prior, reading.images, chosen, public, labels, seed)
    first = _study(chosen[:QUICK], budget.quick_grid(asked, grid), *options, beside, quick=True)
    if quick:
        return Job(first, reading, chosen[:QUICK], setup, [FIRST_LOOK, *warnings], show_names, beside, None, labelled)
    whole = _study(chosen, grid, *options, beside)
    return Job(whole, reading, chosen, setup, warnings, show_names, beside, first, labelled)


def _chosen(images: data.ImageSet, limit: int, seed: int) -> data.ImageSet:
    """At most `limit` images at random; those of a first look come first, so that the whole audit goes on from it."""
    order = data.chosen(len(images), images.name, images.split, min(limit, len(images)), seed)
    first = data.chosen(len(images), images.name, images.split, min(limit, QUICK, len(images)), seed)
    return images[np.concatenate([first, np.setdiff1d(order, first)])]


def _typical_norm(prior: Prior) -> float:
    """What an adversary that is not told lambda takes an image's norm for."""
    from vpaudit.attack import knowledge
    from vpaudit.priors import gaussian as gaussians

    return knowledge.typical_norm(gaussians.sized(gaussians.load(prior.gaussian), prior.shape))


def _known(gaussian: Path, images: data.ImageSet) -> list[str]:
    """What it means that a Gaussian prior was fitted to the audited images themselves."""
    from vpaudit.priors import gaussian as gaussians

    count = files.read_json(gaussian / "card.json").get("images")
    known = gaussians.known_images(gaussians.load(gaussian), pixels.from_uint8(images.images), count)
    return [
        f"The Gaussian prior was fitted to {known} of these {len(images)} images themselves, and knows them before any "
        "release: what it reconstructs of them, and how far from the prior they are said to be, is not what an "
        "adversary without them has. Give --gaussian one that was fitted to other images of their kind."
    ] * (known > 0)


def _outside(asked: budget.Asked, low: float, high: float) -> str:
    if asked.mu < low:
        return (
            f"µ = {asked.mu:g} ({asked.meaning}) has more noise than this prior was trained on; it was not attacked. "
            f"Success falls with µ, so the answer for µ = {low:.3g} is more than an attack can reach there."
        )
    return (
        f"µ = {asked.mu:g} ({asked.meaning}) leaves so little noise that no attack is needed: the image is visible as "
        f"it is released. It was not attacked; take it for worse than µ = {high:.3g}."
    )


def _title(images: str, show_names: bool) -> str:
    """What the study calls the images: nothing of their own names, unless that is wanted."""
    return re.sub(r"[^A-Za-z0-9]+", "-", Path(images).name.split(".")[0]).strip("-") if show_names else "images"


def _study(
    chosen, grid, setup: budget.Setup, max_grad_norm, prior: Prior, redact: bool, title: str, margin: float, seed: int,
    beside: Others, quick: bool = False,
) -> Config:  # fmt: skip
    attacks = [a.model_copy(update={"conditioning": ["unconditional"]}) for a in Config().attacks]  # no class is known
    if quick:
        attacks = [a for a in attacks if not a.stochastic and a.kind != "given_norm"]
    metrics = [m if prior.shape[1] < 64 else m.replace("lpips_vgg_64", "lpips_vgg") for m in Config().evaluate.metrics]
    overlay = {
        "seed": seed,
        "data": {"name": "the audited folder", "images": len(chosen), "folder": "", "colour": prior.shape[0] == 3},
        "mechanism": {"mu": grid, "max_grad_norm": max_grad_norm, "delta": setup.delta},
        "prior": {
            "path": _relative(prior.folder),
            "gaussian": _relative(prior.gaussian),
            "precision": "auto",
            "rows": QUICK,
        },
        "attacks": [json.loads(Attack.model_dump_json(a)) for a in attacks],
        "evaluate": {"metrics": metrics},
        "shard_size": QUICK,
    }
    if quick:
        overlay |= {"success": {"references": []}, "jobs": {"keep_checkpoints": True}}
    if setup.simulated:
        training = {"sample_rate": setup.sample_rate, "steps": setup.steps}
        overlay["rounds"] = {"noise_multiplier": setup.simulated, **training}
    content = json.dumps(overlay, sort_keys=True).encode() + chosen.images.tobytes()
    study = f"audit-{title or 'images'}-{hashlib.sha256(content).hexdigest()[:8]}"
    overlay["study"] = study
    overlay["data"]["folder"] = f"results/{study}/{title or 'images'}.npz"
    # not hashed above: with another margin or other public images, or on a page without images it is attacked once
    overlay |= {"report": {"redact": redact}, "evaluate": {"metrics": metrics, "margin": margin}}
    attacked = [a.mu for a in setup.asked if a.mu in grid]
    overlay["recognition"] = {"mu": attacked, **beside.paths(Path("results") / study)}
    return configuration.resolve(overlay, "the audit")


def _relative(path: Path) -> str:
    """As the rules name it: from the working folder, where it is inside, or will be because it is shipped."""
    roots = (root.resolve() for root in (places.home(), *places.shipped()))
    return next((str(path.relative_to(root)) for root in roots if path.is_relative_to(root)), str(path))


# ---------------------------------------------------------------- the run


@contextlib.contextmanager
def private():
    """Everything written inside, also by programs that are started, is readable by its owner alone."""
    before = os.umask(PRIVATE)
    try:
        yield
    finally:
        os.umask(before)


def run(job: Job, out: Path | None, cores: int, printed: bool = False) -> dict:
    """Write the study, run the rules on it, gather what they made; returns the answer.

    Args:
        out: folder for page, tables, figures and answer; None: results/<study>/audit.
        cores: for Snakemake; printed: the page also as PDF.

    Raises:
        VpauditError: a rule failed, the disk is full.
    """
    layout = Layout(job.config)
    with private(), contextlib.chdir(init.working_folder()):
        output = Output(out or layout.results / "audit", ours=out is None)
        overlay = _write_study(job, layout)
        if job.first_look:
            _take_over(Layout(job.first_look), layout)
        _snakemake(overlay, layout, cores)
        cost = partial(utility.measure, job.labelled, job.setup, layout, job.config.seed) if job.labelled else None
        found = answer.build(layout, job.setup, job.facts(), cost)
        gather(job, layout, output)
        if cost:
            utility.write(found, output)
        page.build(layout, job.config, job.setup, found, output.path("report.html"))
        if printed:
            pdf.write(output.path("report.html"), output.path("report.pdf"))
        files.write_json(output.path("audit.json"), found)
        with files.atomic(output.path("audit.txt")) as temporary:
            temporary.write_text(answer.text(found) + "\n", encoding="utf-8")
        return {**found, "out": str(output.folder.absolute())}


def _write_study(job: Job, layout: Layout) -> Path:
    """The images without names, which image came from which file, what was left out, and the configuration."""
    for folder in (layout.results, layout.figures, layout.work):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
    source, config = Path(job.config.data.folder), layout.results / "audit.yaml"
    if not source.exists():  # the study's name holds their hash: what is there is the same
        with files.atomic(source) as temporary, open(temporary, "wb") as file:
            np.savez(file, x=job.chosen.images)
    job.others.write(layout.results)
    names = pd.DataFrame({"image": range(len(job.chosen)), "file": job.names()})
    left = pd.DataFrame(job.reading.left_out(), columns=["file", "reason"])
    for name, table in (("names", names), ("left_out", left)):
        with files.atomic(layout.results / f"{name}.csv") as temporary:
            table.to_csv(temporary, index=False)
    configuration.save(job.config, config)
    return config


def _take_over(first: Layout, layout: Layout) -> None:
    """Checkpoints of a first look at the same images, into those of the whole audit."""
    if (first.work / "reconstruct").exists():
        shutil.copytree(first.work / "reconstruct", layout.work / "reconstruct", dirs_exist_ok=True)


def _snakemake(overlay: Path, layout: Layout, cores: int) -> None:
    """The rules of the studies, through the same door; progress on stderr, what else is said in logs/."""
    here = str(Path(sys.executable).parent)
    environment = {
        **os.environ,
        "PATH": here + os.pathsep + os.environ.get("PATH", ""),
        "HF_HUB_OFFLINE": "1",
        "VPAUDIT_AUDIT": "1",
    }
    if places.CLONE:  # which need not be installed; an installed package is found as it was found here
        environment["PYTHONPATH"] = str(places.PACKAGE.parent)
    wanted = ["all", "domain", "participation", "believed", "recognised"]
    command = ["bash", "workflow/run.sh", *wanted, "--configfile", str(overlay), "--cores", str(cores)]
    code = subprocess.run(command, env=environment, stdout=STDERR).returncode
    if code:
        raise VpauditError(
            f"the run of {layout.results.name} stopped (exit code {code})",
            f"what is above, or in {layout.log('').parent}/, says why; the same command goes on from there",
        )


# ---------------------------------------------------------------- after the run


def gather(job: Job, layout: Layout, output: Output) -> None:
    """Page, tables as CSV, figures, configuration: what may be shown to whom the images may be shown.

    Raises:
        VpauditError: the page of a redacted audit shows an image that is no curve; a file is there that is not ours.
    """
    redact = job.config.report.redact
    figures = [p for p in sorted(layout.figures.iterdir()) if p.is_file()]
    if redact:
        figures = [p for p in figures if not (p.stem in IMAGE_FIGURES and p.suffix in (".png", ".pdf"))]
        check_redacted(layout.report, figures)
    output.clear()
    _copy(layout.report, output.path("report.html"))
    _copy(layout.config, output.path("config.yaml"))
    for path in figures:
        _copy(path, output.path(f"figures/{path.name}"))
    for name in TABLES:
        with files.atomic(output.path(f"tables/{name}.csv")) as temporary:
            pd.read_parquet(layout.table(name)).to_csv(temporary, index=False, float_format="%.6g")
    for name in ("names.csv", "left_out.csv"):
        if job.show_names:
            _copy(layout.results / name, output.path(f"tables/{name}"))


def check_redacted(page: Path, figures: list[Path]) -> None:
    """Refuse a page that shows a picture other than these figures."""
    import base64

    allowed = {base64.b64encode(p.read_bytes()).decode() for p in figures if p.suffix == ".png"}
    if set(IMAGE_URI.findall(page.read_text(encoding="utf-8"))) - allowed:
        raise VpauditError(f"{page} shows images, though it should not", "this is a bug; do not share the page")


def _copy(source: Path, target: Path) -> None:
    with files.atomic(target) as temporary:
        shutil.copyfile(source, temporary)
