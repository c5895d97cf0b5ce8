"""From data to targets.npz, and whether a prior may have been trained on them."""

import numpy as np
import pandas as pd

from vpaudit.base import files
from vpaudit.stages.inputs import opened
from vpaudit.study.config import Config
from vpaudit.study.layout import Layout


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


def overlap(config: Config, layout: Layout) -> None:
    """targets.npz, training images, the prior's card -> overlap.json."""
    from vpaudit.data import ImageSet
    from vpaudit.data import overlap as module
    from vpaudit.stages.priors import training_images

    with opened(layout.targets) as file:
        targets = ImageSet(config.dataset, "test", file["images"], file["labels"], file["ids"], ())
    training = training_images(config) if config.data.train or not config.data.folder else None
    card = layout.prior / "card.json"
    found = module.examine(targets, training, files.read_json(card) if card.exists() else {})
    files.write_json(layout.results / "overlap.json", found)
    print(module.text(found), flush=True)
