"""From reconstructions to tables of metrics, image by image."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from vpaudit.base import pixels
from vpaudit.base.files import write_table
from vpaudit.measure import meter as measure
from vpaudit.priors import gaussian
from vpaudit.privacy.mechanism import Mechanism
from vpaudit.stages.inputs import chosen, opened
from vpaudit.study import shards
from vpaudit.study.config import Config
from vpaudit.study.layout import MEASURED, Layout


def baseline(config: Config, layout: Layout, device: str = "auto") -> None:
    """targets.npz, Gaussian prior -> parts/baselines/mu=unrelated.parquet: what can be had without any release."""
    mean = gaussian.load(layout.gaussian).mean.clamp(pixels.LOW, pixels.HIGH)
    every = slice(0, config.data.images)
    rows = [measure.without_release(meter, mean) for _, meter in meters(config, layout, every, device)]
    write_table(layout.part("baselines", "unrelated"), pd.concat(rows, ignore_index=True))


def evaluate(config: Config, layout: Layout, part: str, device: str = "auto") -> None:
    """reconstructions/mu=<part>.npz, references/mu=<part>.npz -> parts of the measured tables."""
    wanted = shards.find(config, part)
    found = {table: [] for table in MEASURED}
    made, without = _arrays(layout.reconstruction(part)), _arrays(layout.references(part))
    rule, mean = Mechanism(float(wanted.mu), config.mechanism.max_grad_norm), gaussian.load(layout.gaussian).mean
    with tqdm(total=len(made) * len(wanted), desc=f"mu={part}", disable=None, ascii=True, ncols=79) as bar:
        for places, meter in meters(config, layout, wanted.images, device):
            for name, draws in made.items():
                prior, attack_name = name.split(".")
                tag = {"prior": prior, "attack": attack_name, "mu": rule.mu}
                known = next(a.knowledge.label for a in config.attacks if a.name == attack_name)
                some = torch.from_numpy(pixels.unpacked(draws[:, places]))
                for table, rows in measure.measure(meter, some, tag, known).items():
                    found[table].append(rows)
                bar.update(some.shape[1])
            some = {name: torch.from_numpy(pixels.unpacked(draws[:, places])) for name, draws in without.items()}
            found["references"].append(measure.without_target(meter, some, rule, mean, config.success_metrics))
    for table, rows in found.items():
        write_table(layout.part(table, part), pd.concat(rows, ignore_index=True))


def _arrays(path: Path) -> dict[str, np.ndarray]:
    with opened(path) as file:
        return {name: file[name] for name in file.files}


def meters(config: Config, layout: Layout, images: slice, device: str):
    """(places within `images`, Meter of these), a bounded number at a time; LPIPS is built once."""
    with opened(layout.targets) as file:
        arrays, ids = file["images"], torch.from_numpy(file["ids"].astype(np.int64))
    lpips = measure.backbone(config, pixels.from_uint8(arrays[:1]).shape, chosen(device))
    everyone = [measure.other_targets(len(arrays), config.seed, k) for k in range(config.evaluate.unrelated)]
    step = measure.at_once(arrays.shape[1:3])
    for start in range(images.start, images.stop, step):
        own = torch.arange(start, min(start + step, images.stop))
        needed, places = torch.unique(torch.stack([own, *(order[own] for order in everyone)]), return_inverse=True)
        pool = pixels.from_uint8(arrays[needed.numpy()])
        meter = measure.Meter(config, pool, ids[needed], places[0], list(places[1:]), lpips, chosen(device))
        yield slice(start - images.start, start - images.start + len(own)), meter
