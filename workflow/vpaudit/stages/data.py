"""From data to targets.npz, and whether a prior may have been trained on them."""

import numpy as np
import pandas as pd

from vpaudit.base import files
from vpaudit.base.errors import VpauditError
from vpaudit.stages.inputs import opened
from vpaudit.study.config import Config
from vpaudit.study.layout import Layout

PUBLIC, PUBLIC_VALUES = 6000, 20_000_000  # images, and values in all, that an attack holds as public images


def targets(config: Config, layout: Layout) -> None:
    """data -> targets.npz: the attacked test images; of a folder also skipped.csv, what could not be used."""
    from vpaudit import data

    if config.data.folder:
        about = config.data
        most = max(data.MOST, about.images)
        reading = data.read_local(about.folder, about.size, about.grey, about.under, about.colour, config.seed, most)
        print("\n".join(reading.lines()), flush=True)
        with files.atomic(layout.skipped) as temporary:
            pd.DataFrame(reading.left_out(), columns=["file", "reason"]).to_csv(temporary, index=False)
        selected = data.select(reading.images, about.images, config.seed)
    else:
        selected = data.draw(config.data.name, "test", config.data.images, config.seed)
    with files.atomic(layout.targets) as temporary:
        np.savez(
            temporary,
            images=selected.images,
            labels=selected.labels,
            ids=selected.ids,
            class_names=np.array(list(selected.class_names)),
        )


def public(config: Config, layout: Layout) -> None:
    """training images, targets.npz -> public.npz: at most PUBLIC that an adversary may know, none of the targets."""
    from vpaudit import data
    from vpaudit.data.overlap import hashes

    with opened(layout.targets) as file:
        targets = set(hashes(file["images"]))
    known = training_images(config, full=False)
    known = known[[digest not in targets for digest in hashes(known.images)]]
    most = min(len(known), PUBLIC, PUBLIC_VALUES // known.images[0].size)
    with files.atomic(layout.public) as temporary:
        np.savez(temporary, images=data.select(known, most, config.seed).images)


def training_images(config: Config, full: bool = True):
    """Those of the study's card, or of `data.train` where it attacks a folder; full: see `data.load`."""
    from vpaudit import data

    chosen = config.data
    if not chosen.folder:
        return data.load(chosen.name, "train", full)
    if not chosen.train:
        raise VpauditError(f"no training images to go with {chosen.folder}", "set data.train, or prior.gaussian")
    return data.load_local(chosen.train, chosen.size, chosen.grey, chosen.train_under, chosen.colour)


def overlap(config: Config, layout: Layout) -> None:
    """targets.npz, training images, the prior's card -> overlap.json."""
    from vpaudit.data import ImageSet
    from vpaudit.data import overlap as module

    with opened(layout.targets) as file:
        targets = ImageSet(config.dataset, "test", file["images"], file["labels"], file["ids"], ())
    training = training_images(config) if config.data.train or not config.data.folder else None
    card = layout.prior / "card.json"
    found = module.examine(targets, training, files.read_json(card) if card.exists() else {})
    files.write_json(layout.results / "overlap.json", found)
    print(module.text(found), flush=True)
