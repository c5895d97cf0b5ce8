"""Pictures of what a gradient gives away: six networks over noise, and the images of one batch that share rows.

    python benchmarks/own_pictures.py              # into figures/opacus and results/opacus; ten minutes on one core

`reconstructions.png`: one image of Fashion-MNIST through the gradient of each network at its initialisation, one
posterior sample each. `mixed.png`: a batch through a planted layer of fewer rows than it takes to separate all images
(`vpaudit.opacus.mixed`): least squares and the shipped prior beside joint posterior samples. `mixed.csv`: errors of 64
images. A finished part is not made again.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from networks import NETWORKS, NOISE, build, planted, total
from torch import nn

import vpaudit
from vpaudit.attack import gradients
from vpaudit.base import files, places
from vpaudit.base.randomness import KeyedNoise
from vpaudit.measure import metrics
from vpaudit.opacus.clipped import ClippedGradient
from vpaudit.opacus.mixed import batch_sample
from vpaudit.opacus.posterior import Adversary, Effort, posterior_samples
from vpaudit.priors import samples
from vpaudit.privacy.mechanism import Mechanism
from vpaudit.report.figures import style as styles

EFFORT = Effort(levels=18, start=10.0, newton=1, products=3)
IMAGE, UNSEEN = 3, 1e6  # which image is shown; a noise multiplier at which the gradient says nothing
BATCH, BATCHES, ROWS, MIXED_NOISE = 8, 8, 24, 0.02


def adversary() -> Adversary:
    prior = vpaudit.load_prior("fashion_mnist_dit", rows=1, precision="float32")
    return Adversary(prior, vpaudit.load_prior("fashion_mnist_gaussian"))


def reconstruction(name: str, noise: float, knows: Adversary) -> torch.Tensor:
    """(1, C, H, W): one posterior sample of the image."""
    images, labels = vpaudit.load_images("fashion_mnist", IMAGE + 1)
    x, label = images[IMAGE], int(labels[IMAGE])
    network = planted(name, knows.gaussian) if name == "planted" else build(name, x.shape)
    gradient = ClippedGradient(network, label, 1.0, total if name == "planted" else nn.functional.cross_entropy)
    key, value = (0, "pictures", name, f"noise={noise:g}"), gradient(x)
    seen = value + noise * KeyedNoise([(*key, "release")], value.shape)()[0]
    return posterior_samples(gradient, seen, noise, knows, key, 1, EFFORT).clamp(-1, 1)


def kept(place: Path, make) -> torch.Tensor:
    """What was made before, or what `make` gives."""
    if not place.exists():
        with files.atomic(place) as temporary, open(temporary, "wb") as file:
            np.save(file, make().numpy())
    return torch.from_numpy(np.load(place))


def pictures(parts: Path) -> plt.Figure:
    """A row a network; the columns are the noise multipliers, before them the image, after them the class alone."""
    knows, names = adversary(), ("planted", *NETWORKS)
    image = vpaudit.load_images("fashion_mnist", IMAGE + 1)[0][IMAGE][None]
    blind = kept(parts / "class.npy", lambda: reconstruction("planted", UNSEEN, knows))
    rows = [
        [image, *(kept(parts / f"{name}-{noise:g}.npy", lambda: reconstruction(name, noise, knows)) for noise in NOISE)]  # noqa: B023
        for name in names
    ]
    columns = ["image", *(f"{noise:g}" for noise in NOISE), "class alone"]
    return sheet(torch.cat([tile for row in rows for tile in (*row, blind)]), columns, list(names), "noise multiplier")


def sheet(tiles: torch.Tensor, columns: list[str], rows: list[str], label: str) -> plt.Figure:
    style = styles.get("default")
    with plt.rc_context(styles.rc(style)):
        side = (style["width"] - 1.2) / len(columns)
        figure, axis = plt.subplots(figsize=(style["width"], len(rows) * side + 0.5))
        across, down = len(columns), len(rows)
        axis.imshow(samples.sheet(tiles, across), cmap="gray", vmin=0, vmax=255, extent=(0, across, down, 0))
        axis.set_xticks(np.arange(across) + 0.5, columns)
        axis.set_yticks(np.arange(down) + 0.5, rows)
        axis.tick_params(length=0)
        axis.grid(False)
        axis.spines[:].set_visible(False)
        axis.set(xlabel=label)
    return figure


def mixed(parts: Path) -> tuple[plt.Figure, pd.DataFrame]:
    """The first batch as a figure, and errors of all."""
    knows, mechanism = adversary(), Mechanism(1 / MIXED_NOISE, 1.0)
    images, labels = vpaudit.load_images("fashion_mnist", BATCH * BATCHES)
    public, _ = vpaudit.load_images("fashion_mnist", 512, split="train")
    network = gradients.ImprintNetwork(images.shape[1:], ROWS, 10, "sparse", public)
    rows = []
    for number in range(BATCHES):
        part = slice(number * BATCH, (number + 1) * BATCH)
        x, classes, ids = images[part], labels[part], torch.arange(images[part].shape[0])
        released = gradients.release(network, x, classes, mechanism, 0, ("mixed", number))
        seen, apart = gradients.observe(released, x.shape[1:], ids, classes, "mixed", mechanism.mu)
        alone = torch.full_like(x, -1.0)
        alone[apart] = seen.y.clamp(-1, 1)
        denoised = alone.clone()
        denoised[apart] = kept(parts / f"denoised-{number}.npy", lambda: denoise(seen, knows))  # noqa: B023
        together = kept(parts / f"joint-{number}.npy", lambda: torch.stack([
            batch_sample(released, classes.tolist(), knows, ("mixed", number, k), EFFORT).float() for k in range(2)  # noqa: B023
        ]).clamp(-1, 1))  # fmt: skip
        blank = gradients.Released(released.rows, UNSEEN, released.mixing, released.blank)
        blind = kept(parts / f"blind-{number}.npy", lambda: torch.stack([
            batch_sample(blank, classes.tolist(), knows, ("blind", number, k), EFFORT).float() for k in range(2)  # noqa: B023
        ]).clamp(-1, 1))  # fmt: skip
        if number == 0:
            names = ["image", "least squares", "and the prior", "joint sample", "another", "class alone"]
            tiles = torch.cat([x, alone, denoised, *together, blind[0]])
            columns = ["" if found else "not apart" for found in apart]
            figure = sheet(tiles, columns, names, "")
        made = {"least squares": alone, "and the prior": denoised, "joint": together.mean(0), "class": blind.mean(0)}
        for name, found in made.items():
            error = metrics.mse(found, x)
            rows += [(number * BATCH + k, bool(apart[k]), name, float(error[k])) for k in range(BATCH)]
    return figure, pd.DataFrame(rows, columns=["image", "apart", "estimate", "mse"])


def denoise(seen, knows: Adversary) -> torch.Tensor:
    """Posterior mean of each image that least squares separates."""
    return torch.cat([
        knows.prior.denoise(y[None].float(), s[None].float(), label[None])
        for y, s, label in zip(seen.y, seen.s, seen.labels)
    ]).clamp(-1, 1)  # fmt: skip


def save(figure: plt.Figure, path: Path) -> None:
    with files.atomic(path) as temporary:
        figure.savefig(temporary, format="png", dpi=styles.get("default")["dpi"], bbox_inches="tight")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--parts", type=Path, default=Path("work/own_pictures"))
    options.add_argument("--results", type=Path, default=places.home() / "results/opacus")
    options.add_argument("--figures", type=Path, default=places.home() / "figures/opacus")
    chosen = options.parse_args()
    torch.set_num_threads(1)
    batch, table = mixed(chosen.parts / "mixed")
    with files.atomic(chosen.results / "mixed.csv") as temporary:
        table.to_csv(temporary, index=False, float_format="%.5g")
    save(batch, chosen.figures / "mixed.png")
    save(pictures(chosen.parts / "networks"), chosen.figures / "reconstructions.png")


if __name__ == "__main__":
    main()
