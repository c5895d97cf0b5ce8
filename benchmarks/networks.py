"""What six networks leak of an image, over what a planted layer leaks: by layer, batch, and before and after training.

    python benchmarks/networks.py                  # into results/opacus; about an hour on one core

One row an image, layer and noise multiplier: the equivalent mu (`vpaudit.opacus.leak`) times the noise multiplier, that
is over C / sigma, the mu of a planted layer. Two planted layers stand beside the networks: one whose gradient is the
image, and one whose gradient is the image less the mean of the prior.

An adversary that is told the clipping factor, as it is of a planted layer, learns of the gradient's norm too, which
clipping hides from one that is not: column `told`. Batch 1 is an adversary that knows the rest of the batch, whatever
its size: it subtracts their clipped gradients, and sigma does not depend on the batch. In batches of 8 and 64 it knows
of the others only their classes.

A training is 100 steps of DP-SGD by Opacus on 2,000 images (noise multiplier 0.6, clipping norm 1, batch 64), its
images those that are audited. A finished part, a network before or after training and one adversary, is not made again.
"""

import argparse
import itertools
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import torch
from opacus import PrivacyEngine
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import vpaudit
from vpaudit.base import files, places
from vpaudit.commands.docs.own_training import SETS, SHOWN, WEIGHTS, ratios
from vpaudit.opacus import leak
from vpaudit.opacus.clipped import ClippedGradient
from vpaudit.privacy.mechanism import ImprintLayer
from vpaudit.report.figures import style as styles
from vpaudit.report.figures.panels import legend, level, lines, log_axis

DATA = {"fashion_mnist": "fashion_mnist_gaussian", "cifar10_local": "resources/priors/cifar10/gaussian"}
NOISE = (0.01, 0.1, 0.5, 1.0, 2.0)  # at 0 the image is determined, and no mu is equivalent
ADVERSARIES = ((1, True), (1, False), (8, True), (64, True))  # batch, told lambda
RECORDS, STEPS, BATCH, RATE, TRAINING_NOISE = 2000, 100, 64, 0.5, 0.6


def logistic(channels: int, classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(classes))


def mlp(channels: int, classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(256), nn.ReLU(), nn.Linear(256, classes))


def lenet(channels: int, classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Tanh(),
        nn.AvgPool2d(2), nn.Flatten(), nn.LazyLinear(120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(),
        nn.Linear(84, classes),
    )  # fmt: skip


def opacus_cnn(channels: int, classes: int) -> nn.Module:
    """Of Opacus' MNIST example."""
    return nn.Sequential(
        nn.Conv2d(channels, 16, 8, 2, padding=3), nn.ReLU(), nn.MaxPool2d(2, 1), nn.Conv2d(16, 32, 4, 2), nn.ReLU(),
        nn.MaxPool2d(2, 1), nn.Flatten(), nn.LazyLinear(32), nn.ReLU(), nn.Linear(32, classes),
    )  # fmt: skip


class Positions(nn.Module):
    def __init__(self, tokens: int, width: int):
        super().__init__()
        self.table = nn.Parameter(0.02 * torch.randn(tokens, width))

    def forward(self, tokens):
        return tokens + self.table


class Block(nn.Module):
    """Of a transformer."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads, self.norm, self.qkv = heads, nn.LayerNorm(width), nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, tokens):
        q, k, v = self.qkv(self.norm(tokens)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        tokens = tokens + self.out(mixed.transpose(1, 2).flatten(2))
        return tokens + self.mlp(tokens)


class Tokens(nn.Module):
    def forward(self, patches):
        return patches.flatten(2).mT


class Mean(nn.Module):
    def forward(self, tokens):
        return tokens.mean(dim=1)


def vit(channels: int, classes: int, patch: int = 4, width: int = 64, heads: int = 4) -> nn.Module:
    tokens = (28 if channels == 1 else 32) ** 2 // patch**2
    return nn.Sequential(
        nn.Conv2d(channels, width, patch, patch), Tokens(), Positions(tokens, width),
        Block(width, heads), Block(width, heads), Block(width, heads), nn.LayerNorm(width), Mean(),
        nn.Linear(width, classes),
    )  # fmt: skip


class Residual(nn.Module):
    """Two convolutions and a way past them, with GroupNorm."""

    def __init__(self, before: int, width: int, stride: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, width, 3, stride, 1, bias=False), nn.GroupNorm(32, width), nn.ReLU(),
            nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.GroupNorm(32, width),
        )  # fmt: skip
        past = nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=False), nn.GroupNorm(32, width))
        self.past = nn.Identity() if stride == 1 else past

    def forward(self, x):
        return (self.body(x) + self.past(x)).relu()


def resnet18(channels: int, classes: int) -> nn.Module:
    blocks = []
    for before, width in itertools.pairwise((64, 64, 128, 256, 512)):
        blocks += [Residual(before, width, width // before), Residual(width, width, 1)]
    return nn.Sequential(
        nn.Conv2d(channels, 64, 7, 2, 3, bias=False), nn.GroupNorm(32, 64), nn.ReLU(), nn.MaxPool2d(3, 2, 1), *blocks,
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, classes),
    )  # fmt: skip


NETWORKS = {
    "logistic": logistic, "MLP": mlp, "LeNet": lenet, "Opacus' CNN": opacus_cnn, "ViT": vit, "ResNet-18": resnet18,
}  # fmt: skip
PLANTED = ("planted", "planted, less the mean")


def build(name: str, shape, classes: int = 10) -> nn.Module:
    """At its initialisation, of seed 0."""
    torch.manual_seed(0)
    network = NETWORKS[name](shape[0], classes)
    network(torch.zeros(1, *shape))
    return network


def trained(name: str, x: torch.Tensor, labels: torch.Tensor, kept: Path) -> nn.Module:
    """After a private training on these images, whose weights are kept in a file."""
    if not kept.exists():
        with files.atomic(kept) as temporary:
            save_file(train(build(name, x.shape[1:]), x, labels), temporary)
    bare = build(name, x.shape[1:])  # without Opacus' hooks
    bare.load_state_dict(load_file(kept))
    return bare


def train(network: nn.Module, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
    """The weights that a private training ends with."""
    loss = nn.CrossEntropyLoss()
    model, optimizer, criterion, loader = PrivacyEngine().make_private(
        module=network, optimizer=torch.optim.SGD(network.parameters(), lr=RATE), criterion=loss,
        data_loader=DataLoader(TensorDataset(x, labels), batch_size=BATCH), noise_multiplier=TRAINING_NOISE,
        max_grad_norm=1.0, grad_sample_mode="ghost",
    )  # fmt: skip
    for _, (images, classes) in zip(range(STEPS), itertools.chain.from_iterable(itertools.repeat(loader))):
        optimizer.zero_grad()
        criterion(model(images), classes).backward()
        optimizer.step()
    return network.state_dict()


def total(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return outputs.sum()


def planted(name: str, prior: leak.Gaussian) -> nn.Module:
    """Of which the gradient is the image, or the image less the mean."""
    network = ImprintLayer(prior.mean.numel())
    if name != "planted":
        network.register_forward_pre_hook(lambda module, inputs: (inputs[0] - prior.mean,))
    return network


def part(data: str, name: str, weights: str, batch: int, told: bool, count: int, kept: Path) -> pd.DataFrame:
    """One network before or after training, seen by one adversary; `kept`: what it was trained to."""
    x, labels = vpaudit.load_images(data, RECORDS, split="train")
    prior, steps = vpaudit.load_prior(DATA[data]), 16 if batch == 1 else 12
    loss = total if name in PLANTED else nn.functional.cross_entropy
    if name in PLANTED:
        network = planted(name, prior)
    else:
        network = trained(name, x, labels, kept) if weights == "trained" else build(name, x.shape[1:])
    network.eval()
    with torch.no_grad():
        accuracy = float((network(x).argmax(1) == labels).float().mean()) if name not in PLANTED else float("nan")
    rows = []
    for number in range(count):
        key = ("networks", data, number)
        members = [(number + k * count) % RECORDS for k in range(batch)]
        (gradient, x0), *rest = [
            (ClippedGradient(network, int(labels[k]), 1.0, loss, told=told), x[k]) for k in members
        ]
        parts = layers(gradient, name) if told and batch == 1 else {}
        found = leak.leaks(gradient, x0, prior, key, 1 if batch > 1 or name == "ResNet-18" else 2, steps, rest, parts)
        norm = float(gradient.raw(x0).norm())
        for noise, (layer, leaked) in itertools.product(NOISE if batch == 1 else NOISE[1:], found.items()):
            gain = float(leaked.gain.each(lambda a: a / (noise**2 + a)).mean())  # noqa: B023
            mu, off = leak.equivalent_mu(gain, leaked.variances, leaked.image_norm), float("nan")
            if layer == "all" and batch == 1:
                off = leak.departure(gradient, x0, prior, key, mu, 4)
            rows.append((number, layer, noise, noise * mu, leaked.share, norm, off))
    table = pd.DataFrame(rows, columns=["image", "layer", "noise_multiplier", "ratio", "share", "norm", "departure"])
    return table.assign(data=data, network=name, weights=weights, batch=batch, told=told, accuracy=accuracy)


def layers(gradient: ClippedGradient, name: str) -> dict[str, torch.Tensor]:
    """Coordinates by the network's outermost modules; of ResNet-18 the first and last alone."""
    found: dict[str, torch.Tensor] = {}
    for inner, rows in gradient.layers().items():
        outer = inner.split(".")[0]
        title = f"{outer} {type(gradient.network.get_submodule(outer)).__name__}"
        found[title] = found[title] | rows if title in found else rows
    ends = (next(iter(found)), next(reversed(found)))
    return {title: rows for title, rows in found.items() if name != "ResNet-18" or title in ends}


def images(name: str, data: str, batch: int) -> int:
    """How many are audited: fewer where one takes long; none of ResNet-18 in a batch, nor of CIFAR-10 in one of 64."""
    if name == "ResNet-18":
        return 2 if batch == 1 else 0
    if batch == 64:
        return 2 if data == "fashion_mnist" else 0
    if batch == 8:
        return 4
    return 8 if data == "fashion_mnist" and name != "ViT" else 4


def figure(table: pd.DataFrame) -> plt.Figure:
    """The ratio over noise, before and after training, and over what is not known of the batch."""
    whole = table[(table["layer"] == "all") & table["told"]]
    alone = whole[whole["batch"] == 1]
    noise = alone.assign(x=alone["noise_multiplier"], panel=alone["weights"].map(WEIGHTS))
    few = whole[(whole["noise_multiplier"] == SHOWN) & (whole["weights"] == "initial")]
    parts = pd.concat([noise, few.assign(x=few["batch"], panel="batch")])
    parts = parts.assign(data=parts["data"].map(SETS))
    shown = ratios(parts, ["data", "panel", "network", "x"])
    style = styles.get("default")
    with plt.rc_context(styles.rc(style)):
        grid = lines(
            shown, "x", "network", style, 0.75, order=[*PLANTED, *NETWORKS], row="data", col="panel",
            row_order=SETS.values(), col_order=[*WEIGHTS.values(), "batch"], sharex="col", sharey="row",
        )  # fmt: skip
        grid.set(ylim=(0, None))
        level(grid.axes.flat, 1)
        log_axis(grid.axes[:, :2].flat, NOISE, "")
        log_axis(grid.axes[:, 2], (1, 8, 64), "")
        for axis, label in zip(grid.axes[-1], ("noise multiplier", "noise multiplier", "batch, the others unknown")):
            axis.set_xlabel(label)
        for axis, label in zip(grid.axes[:, 0], SETS.values()):
            axis.set_ylabel(f"{label}: equivalent µ over C/σ")
        return legend(grid.figure, 4)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--networks", nargs="+", default=NETWORKS, choices=NETWORKS)
    options.add_argument("--parts", type=Path, default=Path("work/networks"))
    options.add_argument("--results", type=Path, default=places.home() / "results/opacus")
    options.add_argument("--figures", type=Path, default=places.home() / "figures/opacus")
    chosen = options.parse_args()
    torch.set_num_threads(1)
    made = []
    for (batch, told), data, weights in itertools.product(ADVERSARIES, DATA, WEIGHTS):
        for name in (*PLANTED, *chosen.networks):
            place = chosen.parts / f"{data}-{name}-{weights}-{batch}{'' if told else '-not-told'}.parquet"
            count = images(name, data, batch)
            if not count or (name in PLANTED and weights == "trained"):
                continue
            if not place.exists():
                kept = chosen.parts / f"{data}-{name}.safetensors"
                files.write_table(place, part(data, name, weights, batch, told, count, kept))
                print(place, flush=True)
            made.append(pd.read_parquet(place))
    table = pd.concat(made)
    files.write_table(chosen.results / "networks.parquet", table)
    with files.atomic(chosen.figures / "networks.png") as temporary:
        figure(table).savefig(temporary, format="png", dpi=styles.get("default")["dpi"])


if __name__ == "__main__":
    main()
