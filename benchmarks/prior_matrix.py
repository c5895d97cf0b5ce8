"""Every prior at hand on every kind of images at hand: how much of an image each leaves unknown after a release at mu.

    python benchmarks/prior_matrix.py              # into results/priors and figures/priors, in about five minutes

`matrix.csv`: mean squared error of the posterior mean per pixel, at the images' own size (measure/prior_choice.py),
over mu, for each diffusion prior and the Gaussian that belongs to it; and its ratio to the error of a Gaussian with the
images' own spectrum, which a prior must be below to know anything of them; each with its 95 % interval over images of
the test split. `matrix.png`: that ratio. `<set>.png`: reconstructions by the best prior, of sets whose images may be
shown.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from tqdm import tqdm

from vpaudit import data
from vpaudit.attack import reconstruct
from vpaudit.base import files, pixels, places, stats
from vpaudit.base.denoiser import AnySize, Denoiser
from vpaudit.base.errors import VpauditError
from vpaudit.measure import prior_choice
from vpaudit.priors import find, gaussian, network, samples
from vpaudit.privacy.mechanism import Mechanism, Observation, release_analytic
from vpaudit.report.figures import style as styles
from vpaudit.study.config import Attack

SETS = {  # card: name, and credit where its images may be shown
    "fashion_mnist": ("clothes", "Fashion-MNIST (Xiao, Rasul, Vollgraf 2017), MIT"),
    "chest_xray_64_local": ("X-rays", "Kermany, Zhang, Goldbaum 2018, CC BY 4.0, reduced to 64×64"),
    "cifar10_local": ("CIFAR-10", ""),
    "faces_64_local": ("faces", ""),
    "celebahq_256_local": ("portraits", ""),
    "photos_256_local": ("photographs", ""),
}
MU = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0)
IN_FIGURE = (5.0, 20.0, 100.0)
LARGE = 128  # pixels a side, above which half as many images are taken
SHOWN = 3  # images of a grid
ATTACKS = {
    "posterior mean": Attack(name="mean", kind="posterior_mean"),
    "posterior sample": Attack(name="sample", kind="multistep", order=2, steps=20, eta=1.0),
}


@dataclass(frozen=True)
class Row:
    """A prior of the matrix: its name, and it."""

    name: str
    prior: Denoiser

    def takes(self, images: torch.Tensor) -> tuple[int, int, int] | None:
        """The shape at which it is asked for images (N, C, H, W); None where it knows fewer channels."""
        shape = self.prior.shape
        shape = (shape.channels, *images.shape[2:]) if isinstance(shape, AnySize) else shape
        return shape if shape[0] >= images.shape[1] else None


def rows() -> Iterator[Row]:
    """Every diffusion prior at hand, and after each the Gaussian that belongs to it."""
    for name, folder in find.names().items():
        model = network.load(folder, precision="auto")
        yield Row(name, model)
        closed = find.gaussian(model.shape, find.near(folder))
        if closed:
            yield Row(f"{name}, Gaussian", gaussian.load(closed))


def domains(count: int) -> Iterator[tuple[str, torch.Tensor]]:
    """Card and float32 (N, C, H, W) of the sets that are here; of those that are not, what is missing is printed."""
    for card in SETS:
        try:
            images = data.load(card, "test")
        except VpauditError as error:
            print(f"without {SETS[card][0]}: {error}", flush=True)
            continue
        wanted = count // 2 if images.images.shape[1] > LARGE else count
        yield card, pixels.from_uint8(data.select(images, min(wanted, len(images)), 0).images)


def matrix(priors: list[Row], images: dict[str, torch.Tensor]) -> pd.DataFrame:
    """Columns prior, domain, mu; mse, low, high; ratio, ratio_low, ratio_high; n; milliseconds of an evaluation."""
    found = []
    for card, x in images.items():
        usual = prior_choice.spectrum_errors(x, 0, MU).T
        for row in tqdm(priors, desc=SETS[card][0], disable=None, ncols=79):
            shape = row.takes(x)
            if shape is None:
                continue
            begun = time.perf_counter()
            errors = prior_choice.ask(row.prior, shape, x, 0, MU).errors(x).T
            spent = 1000 * (time.perf_counter() - begun) / errors.size
            columns = {"prior": row.name, "domain": SETS[card][0], "mu": MU, "n": len(x), "milliseconds": spent}
            columns |= dict(zip(("mse", "low", "high"), stats.bootstrap(errors)))
            columns |= dict(zip(("ratio", "ratio_low", "ratio_high"), stats.ratio(errors, usual)))
            found.append(pd.DataFrame(columns))
    return pd.concat(found, ignore_index=True)


def heat_maps(table: pd.DataFrame):
    """A map for each mu of `IN_FIGURE`: blue where a prior knows more than the images' spectrum, red where less."""
    style = styles.get("default")
    with plt.rc_context(styles.rc(style)):
        height = 1.3 + 0.2 * table["prior"].nunique()
        figure, axes = plt.subplots(1, len(IN_FIGURE), figsize=(style["width"], height), sharey=True)
        for axis, mu in zip(axes, IN_FIGURE):
            part = table[table["mu"] == mu].pivot_table(index="prior", columns="domain", values="ratio", sort=False)
            sns.heatmap(
                np.log2(part), annot=part, fmt=".2f", cmap="vlag", center=0, vmin=-1.5, vmax=1.5, cbar=False, ax=axis,
                linewidths=0.5, annot_kws={"size": 0.75 * style["font_size"]},
            )  # fmt: skip
            axis.set(title=f"µ = {mu:g}", xlabel="", ylabel="")
            axis.tick_params(left=False, bottom=False)
            axis.grid(False)
        figure.supxlabel("error over that of a Gaussian with the images' own spectrum", size=style["font_size"])
    return figure


def grid(x: torch.Tensor, row: Row, title: str):
    """Target, and over mu what is released of it, its posterior mean, and one posterior sample."""
    style = styles.get("default")
    x = prior_choice.brought(x, row.takes(x))
    ids = torch.arange(len(x))
    releases = [release_analytic(x, ids, ids, Mechanism(mu), title, 0) for mu in MU]
    parts = (torch.cat([getattr(seen, part) for seen in releases]) for part in ("y", "lam", "sigma", "ids", "labels"))
    every = Observation(*parts, title, MU[0])  # at once, since a network evaluates many images at a time
    made = [reconstruct.reconstruct(every, row.prior, attack, 0) for attack in ATTACKS.values()]
    shown = torch.stack([every.rescaled().clamp(pixels.LOW, pixels.HIGH), *made]).unflatten(1, (len(MU), len(x)))
    tiles = torch.cat([x.expand(len(shown), 1, *x.shape), shown], 1).transpose(0, 2).transpose(1, 2).flatten(0, 2)
    across, down = len(MU) + 1, 3 * len(x)
    with plt.rc_context(styles.rc(style)):
        side = (style["width"] - 0.8) / across
        figure, axis = plt.subplots(figsize=(style["width"], down * side + 0.7))
        axis.imshow(samples.sheet(tiles, across), cmap="gray", vmin=0, vmax=255, extent=(0, across, down, 0))
        axis.set_xticks(np.arange(across) + 0.5, ["target", *(f"{mu:g}" for mu in MU)])
        axis.set_yticks(np.arange(down) + 0.5, ["released", *ATTACKS] * len(x))
        axis.tick_params(length=0)
        axis.grid(False)
        axis.spines[:].set_visible(False)
        axis.set(title=title, xlabel="µ")
    return figure


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=32, help="of each set, at most (default: %(default)s)")
    parser.add_argument("--results", type=Path, default=places.home() / "results/priors", help="(default: %(default)s)")
    parser.add_argument("--figures", type=Path, default=places.home() / "figures/priors", help="(default: %(default)s)")
    arguments = parser.parse_args()
    priors, images = list(rows()), dict(domains(arguments.images))
    table = matrix(priors, images)
    with files.atomic(arguments.results / "matrix.csv") as temporary:
        table.to_csv(temporary, index=False, float_format="%.5g")
    drawn = {"matrix": heat_maps(table)}
    for card, (name, credit) in SETS.items():
        if credit and card in images:
            order = table[table["domain"] == name].groupby("prior")["ratio"].apply(lambda r: np.log(r).mean())
            best = next(row for row in priors if row.name == order.idxmin())
            drawn[card.removesuffix("_local")] = grid(images[card][:SHOWN], best, f"{best.name}; images: {credit}")
    for name, figure in drawn.items():
        with files.atomic(arguments.figures / f"{name}.png") as temporary:
            figure.savefig(temporary, format="png", dpi=styles.get("default")["dpi"], bbox_inches="tight")
    print(f"{arguments.results}/matrix.csv, {arguments.figures}: {', '.join(drawn)}")


if __name__ == "__main__":
    main()
