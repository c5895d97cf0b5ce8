"""Train the priors that are shipped, each for its share of a stated time, on whatever device is there.

    python benchmarks/train_priors.py --check                                # a minute's run of everything first
    python benchmarks/train_priors.py --total-minutes 12 --out work/priors   # resumes by the same command
    python benchmarks/train_priors.py --pack pack --limit 50                 # archives in pieces that can travel
    python benchmarks/train_priors.py --data pack --only faces_64            # joins what is there, and trains

Needs this repository, PyTorch, and the packages that it names where they are missing; the archives of data/cards.yaml
in $VPAUDIT_DATA, resources/data/local, ../shared/data or in pieces in --data. The time is shared by the sets' weights.
On a GPU: a U-Net in bfloat16; on a CPU what `priors/recipe.py` measures to be best there.
"""

import argparse
import importlib.util
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "workflow"))
NEEDED = {
    "torch": "torch", "diffusers": "diffusers", "safetensors": "safetensors", "numpy": "numpy", "PIL": "pillow",
    "scipy": "scipy", "yaml": "pyyaml", "pydantic": "pydantic", "tqdm": "tqdm", "torchmetrics": "torchmetrics",
    "pandas": "pandas",
}  # fmt: skip
PIECE = ".piece"  # of an archive: NAME.piece00, NAME.piece01 ...
TRAINING_SHARE = 0.8  # of a set's time; the rest is for solvers, samples and card
CHECK_MINUTES = 0.2
LICENCES = ROOT / "packaging/licences"  # what the weights of each set may be used for


@dataclass(frozen=True)
class Set:
    """A prior to train: cards of its data, conditional on classes or not, mirrored or not, its share of the time."""

    cards: tuple[str, ...]
    weight: float
    conditional: bool = False
    flip: bool = True
    any_size: bool = False
    use: str = "non-commercial research only"
    begin: str | None = None  # a prior whose network is trained on


SETS = {
    "photographs": Set(("photos_256_local", "tinyimagenet_64_local"), 3.0, any_size=True),
    "chest_xray_64": Set(("chest_xray_64_local",), 1.5, conditional=True, flip=False, use="CC BY 4.0, with credit"),
    "faces_64": Set(("faces_64_local",), 3.5),
    "cifar10": Set(
        ("cifar10_local",), 4.0, conditional=True, use="as CIFAR-10: none stated by its author", begin="cifar10"
    ),
}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--total-minutes", type=float, default=12.0, help="of all, > 0 (default: %(default)g)")
    parser.add_argument("--only", nargs="+", choices=SETS, default=list(SETS), help="(default: all)")
    parser.add_argument("--out", type=Path, default=Path("work/priors"), help="folder (default: %(default)s)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    parser.add_argument("--threads", type=int, help="CPU threads (default: as PyTorch chooses)")
    parser.add_argument("--check", action="store_true", help="twelve seconds of each, into a folder that is deleted")
    parser.add_argument("--pack", type=Path, metavar="FOLDER", help="write the archives in pieces, and stop")
    parser.add_argument("--limit", type=int, default=50, help="MiB in each subfolder of --pack (default: %(default)d)")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="pieces of archives to join, searched through")
    arguments = parser.parse_args()
    missing = sorted(package for module, package in NEEDED.items() if importlib.util.find_spec(module) is None)
    if missing:
        raise SystemExit(f"error: missing: {', '.join(missing)}\n  try: pip install --no-deps {' '.join(missing)}")
    if arguments.pack:
        pack(arguments.pack, arguments.only, arguments.limit * 2**20)
    elif arguments.check:
        with tempfile.TemporaryDirectory() as out:
            train_all(arguments, Path(out), CHECK_MINUTES * len(arguments.only))
    else:
        train_all(arguments, arguments.out, arguments.total_minutes)


def pack(folder: Path, only: list[str], limit: int) -> None:
    """The archives of these sets as pieces in folder/1, folder/2 ..., none larger than `limit` bytes."""
    number, left = 1, limit
    for path in dict.fromkeys(archive(card) for name in only for card in SETS[name].cards):
        content, piece = path.read_bytes(), 0
        while content:
            part, content = content[:left], content[left:]
            target = folder / str(number) / f"{path.name}{PIECE}{piece:02d}"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(part)
            piece, left = piece + 1, left - len(part)
            if not left:
                number, left = number + 1, limit
    for part in sorted(folder.iterdir()):
        print(f"{part}: {sum(p.stat().st_size for p in part.iterdir()) / 2**20:.1f} MiB", *sorted(os.listdir(part)))


def archive(card: str) -> Path:
    """Where the archive of a card's training images is."""
    from vpaudit import data
    from vpaudit.data import read

    return read.local_path(card, data.card(card)["local"]["train"]["file"])


def join(pieces: Path, folder: Path) -> None:
    """The archives whose pieces are somewhere under `pieces`, into `folder`, which VPAUDIT_DATA then names."""
    found = sorted(pieces.rglob(f"*{PIECE}*"), key=lambda path: path.name)
    folder.mkdir(parents=True, exist_ok=True)
    for name in {path.name.split(PIECE)[0] for path in found}:
        with open(folder / name, "wb") as whole:
            for path in found:
                if path.name.split(PIECE)[0] == name:
                    whole.write(path.read_bytes())
    os.environ["VPAUDIT_DATA"] = str(folder)


def train_all(arguments, out: Path, minutes: float) -> None:
    """Every set in turn; one that fails is reported, and the others are trained."""
    import torch

    from vpaudit.base.errors import VpauditError
    from vpaudit.stages.inputs import chosen

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.data:
        join(arguments.data, out / "data")
    device = chosen(arguments.device)
    print(f"PyTorch {torch.__version__} on {torch.cuda.get_device_name() if device != 'cpu' else 'CPU'}", flush=True)
    shares = {name: SETS[name].weight for name in arguments.only}
    failed = []
    for name, weight in shares.items():
        share = minutes * weight / sum(shares.values())
        print(f"\n{name}: {share:.2f} minutes", flush=True)
        try:
            train_one(name, SETS[name], out, TRAINING_SHARE * share, device)
        except VpauditError as error:
            print(f"{name} failed: {error}", flush=True)
            failed.append(name)
    if failed:
        raise SystemExit(f"error: not trained: {', '.join(failed)}")


def both_splits(card: str):
    """Images to train on and to hold back: the test split where it is here, else a part of the others."""
    from vpaudit import data
    from vpaudit.base.errors import VpauditError
    from vpaudit.stages import training

    train = data.load(card, "train")
    try:
        test = data.load(card, "test")
    except VpauditError:
        return training.split(training.distinct(train))
    return training.distinct(train, test), test


def train_one(name: str, about: Set, out: Path, minutes: float, device: str) -> None:
    """Train, or go on with, one prior; a finished one is left as it is."""
    import torch

    from vpaudit import data
    from vpaudit.base import pixels
    from vpaudit.priors import find
    from vpaudit.stages import training

    folder, work = out / name, out / f".{name}.work"
    if (folder / "few_step.json").exists():
        print(f"{folder} is there")
        return
    train, test = both_splits(about.cards[0])
    if about.any_size:
        others = [data.load(card, "train") for card in about.cards[1:]]
        source, held_out = training.any_size([(train, test), *((other, other[:0]) for other in others)], device)
    else:
        source = training.labelled(train, device, about.conditional)
        held_out = pixels.from_uint8(test.images[: training.MOST_HELD_BACK])
    compiled = torch.device(device).type == "cuda" and minutes > 2 and not about.any_size
    begin = about.begin and find.folder(about.begin)
    chosen = {"horizontal_flip": about.flip, "compile": compiled}
    settings = training.settings_of(work, source, device, minutes, None, begin, **chosen)
    cards = [data.card(card) for card in about.cards]
    known = {
        "name": name,
        "data": "; ".join(f"{card['title']}, train split" for card in cards),
        "licence": "; ".join(dict.fromkeys(card["licence"] for card in cards)),
        "use": about.use,
    }
    training.finish(source, held_out, settings, work, folder, known, device, begin)
    shutil.copyfile(LICENCES / f"{name}.txt", folder / "LICENSE")
    print(training.summary(folder), flush=True)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{folder}: {size / 2**20:.1f} MiB", flush=True)


if __name__ == "__main__":
    main()
