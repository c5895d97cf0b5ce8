"""What a Recorder costs: time of a step of a private training with it over one without, and the disk of a record.

    python benchmarks/recorder.py --every 100 --blocks 10

Both trainings run in turn, in blocks of `every` steps (so that each block has one record), and the ratio is that of
their total processor times, with a bootstrap interval over blocks. It prints, and records nothing.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from opacus import PrivacyEngine
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from vpaudit.opacus import Recorder


def training(batch: int, every: int, path: Path | None):
    """Opacus' own MNIST network on random images: yields after each step."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 8, 2, padding=3), nn.ReLU(), nn.MaxPool2d(2, 1), nn.Conv2d(16, 32, 4, 2), nn.ReLU(),
        nn.MaxPool2d(2, 1), nn.Flatten(), nn.Linear(512, 32), nn.ReLU(), nn.Linear(32, 10),
    )  # fmt: skip
    data = TensorDataset(torch.randn(batch * 20, 1, 28, 28), torch.randint(10, (batch * 20,)))
    model, optimizer, loader = PrivacyEngine().make_private(
        module=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.1), noise_multiplier=1.0, max_grad_norm=1.0,
        data_loader=DataLoader(data, batch_size=batch),
    )  # fmt: skip
    if path:
        Recorder(optimizer, path, every=every, loader=loader)
    while True:
        for x, y in loader:
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
            optimizer.zero_grad()
            yield


def block(steps, count: int) -> float:
    """Processor seconds of `count` steps."""
    started = time.process_time()
    for _ in range(count):
        next(steps)
    return time.process_time() - started


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--batch", type=int, default=64)
    options.add_argument("--every", type=int, default=100)
    options.add_argument("--blocks", type=int, default=10)
    chosen = options.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run.vpaudit"
        with_it, without = training(chosen.batch, chosen.every, run), training(chosen.batch, chosen.every, None)
        block(with_it, 1), block(without, 1)  # finds the network, writes the first record
        times = np.array([[block(with_it, chosen.every), block(without, chosen.every)] for _ in range(chosen.blocks)])
        size = sum(path.stat().st_size for path in run.rglob("step-*")) / len(list((run / "released").iterdir()))
    picks = np.random.default_rng(0).integers(len(times), size=(2000, len(times)))
    sums = times[picks].sum(axis=1)
    low, high = np.quantile(sums[:, 0] / sums[:, 1], [0.025, 0.975])
    ratio = times[:, 0].sum() / times[:, 1].sum()
    print(f"batch {chosen.batch}, every {chosen.every}: time {ratio:.4f} [{low:.4f}, {high:.4f}] of that without")
    print(f"a record takes {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
