"""`vpaudit train-prior`: from a public folder of images to a prior that `audit` takes."""

import argparse
from pathlib import Path

from vpaudit.base.errors import VpauditError

SIZES = (8, 512)  # of a side


def add_train_prior(train: argparse.ArgumentParser) -> None:
    train.add_argument("--images", required=True, help="folder, zip, tar or npz of public images")
    train.add_argument("--out", required=True, type=Path, help="folder to write; the same command goes on with it")
    train.add_argument("--under", default="", help="take only what is under this folder of the images, e.g. train")
    train.add_argument("--size", type=int, help="side of the prior's images (default: their own, if all are alike)")
    colour = train.add_mutually_exclusive_group()
    colour.add_argument("--grey", action="store_true", help="one channel")
    colour.add_argument("--any-size", action="store_true", help="colour photographs of 64 pixels or more, of any size")
    time = train.add_mutually_exclusive_group(required=True)
    time.add_argument("--minutes", type=float, metavar="M", help="of training, > 0; solvers and card take some more")
    time.add_argument("--epochs", type=float, metavar="E", help="times that every image is seen, > 0")
    train.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    train.add_argument("--threads", type=int, help="CPU threads (default: as PyTorch chooses)")
    train.add_argument("--labels", action="store_true", help="tell the network the class: the folder, or y of an npz")
    train.add_argument("--flip", action="store_true", help="mirror every image half of the time (photographs, faces)")
    begin = "go on from the network of this prior (name or folder) of images of this size: far less time is needed"
    train.add_argument("--begin", metavar="PRIOR", help=begin)
    train.add_argument("--licence", default="not stated", help="of the images, for the card")
    train.add_argument("--source", default="not stated", help="where the images are from, for the card")
    train.add_argument("--name", help="of the data, for the card (default: the name of the folder)")
    train.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Read, train, fit solvers, write."""
    length = arguments.epochs if arguments.minutes is None else arguments.minutes
    if not length > 0:
        raise VpauditError(f"--minutes or --epochs {length:g} must be > 0", "give a positive number")
    if arguments.size is not None and not SIZES[0] <= arguments.size <= SIZES[1]:
        raise VpauditError(f"--size {arguments.size}", f"give a side from {SIZES[0]} to {SIZES[1]} pixels")
    if (arguments.out / "few_step.json").exists():
        raise VpauditError(f"{arguments.out} already holds a prior", "name another folder, or delete it")
    import torch

    from vpaudit import data
    from vpaudit.base import pixels
    from vpaudit.priors import find
    from vpaudit.stages import training
    from vpaudit.stages.inputs import chosen

    if arguments.threads:
        torch.set_num_threads(max(1, arguments.threads))
    size = 256 if arguments.any_size and not arguments.size else arguments.size
    reading = data.read_local(arguments.images, size, arguments.grey, arguments.under, arguments.any_size, most=2**31)
    print("\n".join(reading.lines()), flush=True)
    known, held = training.split(training.distinct(reading.images))
    device = chosen(arguments.device)
    if arguments.any_size:
        source, held_out = training.any_size([(known, held)], device)
    else:
        source = training.labelled(known, device, arguments.labels)
        held_out = pixels.from_uint8(held.images)
    work = arguments.out.with_name(f".{arguments.out.name}.work")
    begin = arguments.begin and find.folder(arguments.begin)
    flip = {"horizontal_flip": arguments.flip or arguments.any_size}
    settings = training.settings_of(work, source, device, arguments.minutes, arguments.epochs, begin, **flip)
    about = {
        "name": arguments.name or Path(arguments.images).stem,
        "data": f"{arguments.name or Path(arguments.images).name}, {len(known)} images and {len(held)} held back",
        "licence": arguments.licence,
        "source": arguments.source,
    }
    training.finish(source, held_out, settings, work, arguments.out, about, device, begin)
    print(training.summary(arguments.out))
