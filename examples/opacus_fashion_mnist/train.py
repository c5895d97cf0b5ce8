"""A private training of a small network on Fashion-MNIST, as anyone would write it, and three lines that record it.

python train.py --steps 200
vpaudit audit --run run.vpaudit --model train:build
"""

import argparse
import itertools

import torch
from opacus import PrivacyEngine
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import vpaudit
from vpaudit.opacus import Recorder


def build() -> nn.Module:
    """The network before its training."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 16, 8, 2, padding=3), nn.Tanh(), nn.MaxPool2d(2, 1), nn.Conv2d(16, 32, 4, 2), nn.Tanh(),
        nn.MaxPool2d(2, 1), nn.Flatten(), nn.Linear(512, 32), nn.Tanh(), nn.Linear(32, 10),
    )  # fmt: skip


def main(argv: list[str] | None = None) -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--steps", type=int, default=200)
    options.add_argument("--every", type=int, default=100)
    options.add_argument("--batch", type=int, default=64)
    options.add_argument("--noise-multiplier", type=float, default=0.6)
    options.add_argument("--run", default="run.vpaudit")
    chosen = options.parse_args(argv)
    images, labels = vpaudit.load_images("fashion_mnist", 2000)
    model = build()
    model, optimizer, loader = PrivacyEngine().make_private(
        module=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.5),
        data_loader=DataLoader(TensorDataset(images, labels), batch_size=chosen.batch),
        noise_multiplier=chosen.noise_multiplier,
        max_grad_norm=1.0,
    )
    Recorder(optimizer, chosen.run, every=chosen.every, steps=chosen.steps, loader=loader)
    batches = itertools.chain.from_iterable(itertools.repeat(loader))
    for _, (x, y) in zip(range(chosen.steps), batches):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        print(f"accuracy on the training images: {float((model(images).argmax(1) == labels).float().mean()):.3f}")


if __name__ == "__main__":
    main()
