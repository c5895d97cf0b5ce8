"""Priors of increasing shift against one target: from the right class to no prior, against images of every class.

Every class of the network, the network told no class, Gaussians fitted to the study's training images and, where
../shared/data is, to other data sets, two networks that others trained, where their weights are and the images are
theirs in shape, and at the end nothing but the range of a pixel. Distances from prior k to
targets c, none of which runs the attack at the mu it is to explain:

    kl        price of the wrong prior in bits, 1/2 integral of (mse_k - mse_c) over snr up to the mu in question
    frechet   Frechet distance of pooled AlexNet features (LPIPS's backbone) between images of prior and class
    pixels    Frechet distance of the pixels themselves: means and covariances

Images of a class's prior are its training images, those of the others their own samples. Loss: log of the posterior
mean's MSE over that of the right class.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from vpaudit import data
from vpaudit.base import pixels
from vpaudit.base.denoiser import Shape
from vpaudit.base.pixels import HIGH, LOW, per_image
from vpaudit.base.randomness import KeyedNoise, generator
from vpaudit.experiments.bench import SHARED, Bench, progress
from vpaudit.experiments.shift.third_party import ThirdPartyPrior
from vpaudit.measure import distances, metrics
from vpaudit.priors import samples
from vpaudit.priors.gaussian import GaussianPrior
from vpaudit.privacy import information
from vpaudit.privacy.mechanism import Mechanism, release_analytic

TARGETS = 24  # test images a class
FITTED = 400  # images a prior, for the distances of features and pixels
MUS = (2.0, 5.0, 10.0, 20.0, 50.0)
LEVELS = 16
STEPS = 50  # of the sampler that draws images of a network that others trained
OTHERS = {"MNIST, Gaussian": "mnist_10k.npz", "CIFAR-10, Gaussian": "cifar10_train_40000_lossless.zip"}
THEIRS = {
    "clothes, by others": "weights_third_party/ddpm_fashion.pt",
    "MNIST, by others": "weights_third_party/ddpm_mnist.pt",
}


@dataclass(frozen=True)
class Rival:
    """A prior of the ladder: its posterior mean of (B, C, H, W) at noise s (B,), and images of its kind."""

    denoise: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    images: torch.Tensor


def run(bench: Bench) -> pd.DataFrame:
    """Columns prior (classes and others), target (classes), mu, metric: mse, kl, frechet, pixels; value."""
    config = bench.config
    train, test = (data.load(config.data.name, split) for split in ("train", "test"))
    names = list(test.class_names)[: bench.network.num_classes]
    chosen = torch.from_numpy(np.concatenate([np.flatnonzero(test.labels == c)[:TARGETS] for c in range(len(names))]))
    x, target = pixels.from_uint8(test.images[chosen]), torch.from_numpy(test.labels[chosen])
    ladder = _ladder(bench, train, names)
    tables = [_static(ladder, names)]
    curves, grid = _curves(bench, ladder, x, chosen)
    for mu in progress(MUS, "shift"):
        seen = release_analytic(x, chosen, target, Mechanism(mu), f"{config.dataset} shift", config.seed)
        s = seen.s.numpy()
        for prior, rival in ladder.items():
            error = metrics.mse(rival.denoise(seen.rescaled(), seen.s.float()), x)
            for c, name in enumerate(names):
                mine = (target == c).numpy()
                at = np.clip(np.median(s[mine]), grid.min(), grid.max())
                excess = curves[prior][mine].mean(0) - curves[name][mine].mean(0)
                kl = float(information.integral_over_snr(grid, excess, np.array([at]), 0.0)[0] / np.log(2))
                row = {"prior": prior, "target": name, "mu": mu}
                tables.append(pd.DataFrame({**row, "metric": ["mse", "kl"], "value": [float(error[mine].mean()), kl]}))
    return pd.concat(tables, ignore_index=True).assign(dataset=config.dataset, count=TARGETS)


def _ladder(bench: Bench, train, names: list[str]) -> dict[str, Rival]:
    """Name -> prior, the classes first."""
    network, key = bench.network, (bench.config.seed, "shift samples")
    parts = [pixels.from_uint8(train.images[train.labels == c][:FITTED]) for c in range(len(names))]
    ladder = {
        name: Rival(lambda x, s, k=k: network.denoise(x, s, torch.full((len(x),), k)), parts[k])
        for k, name in enumerate(names)
    }
    everything = torch.cat([part[: max(2, FITTED // len(names) * 2)] for part in parts])
    ladder["no class known"] = Rival(lambda x, s: network.denoise(x, s, None), everything)
    gaussians = {"Gaussian": bench.gaussian}
    channels, height, _ = network.shape
    for name, file in OTHERS.items():
        if _is_here(name, file):
            images = data.load_local(SHARED / file, size=height, grey=channels == 1, colour=channels == 3).images
            gaussians[name] = GaussianPrior.fit(pixels.from_uint8(images))
    for name, prior in gaussians.items():
        noise = torch.randn(FITTED, *network.shape, generator=generator(*key, name))
        ladder[name] = Rival(prior.denoise, (prior.mean + prior.colour(noise)).clamp(LOW, HIGH))
    ladder |= trained_by_others(network.shape, bench.config.seed)
    flat = LOW + (HIGH - LOW) * torch.rand(FITTED, *network.shape, generator=generator(*key, "range"))
    ladder["range of a pixel"] = Rival(in_range, flat)
    return ladder


def trained_by_others(shape: Shape, seed: int) -> dict[str, Rival]:
    """Networks that nobody here trained, where their weights are and (C, H, W) is their shape."""
    if shape != ThirdPartyPrior.shape:
        return {}
    priors = {name: ThirdPartyPrior(SHARED / file) for name, file in THEIRS.items() if _is_here(name, file)}
    return {
        name: Rival(prior.denoise, samples.draw(prior, seed, range(FITTED), STEPS, 2)) for name, prior in priors.items()
    }


def _is_here(name: str, file: str) -> bool:
    """Whether a file of `SHARED` is; of one that is not, the log says what is left out."""
    there = (SHARED / file).exists()
    if not there:
        print(f"shift: no {SHARED / file}, so {name!r} is left out", flush=True)
    return there


def in_range(x: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
    """Posterior mean where pixels are known to lie evenly in [-1, 1] and no more: the mean of a truncated Gaussian."""
    s = per_image(s.double())
    low, high = (LOW - x.double()) / s, (HIGH - x.double()) / s
    far = low > 0  # both ends in the upper tail: taken in the lower one, where differences keep their digits
    low, high = torch.where(far, -high, low), torch.where(far, -low, high)
    mass = (torch.special.erfc(-high / 2**0.5) - torch.special.erfc(-low / 2**0.5)).clamp_min(1e-300) / 2
    pull = (torch.exp(-(low**2) / 2) - torch.exp(-(high**2) / 2)) / math.sqrt(2 * math.pi) / mass
    return (x.double() + s * torch.where(far, -pull, pull)).clamp(LOW, HIGH).float()


def _curves(bench: Bench, ladder, x, ids) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Squared errors (images, levels) summed over pixels, by prior, and the levels."""
    grid = np.geomspace(0.1, min(bench.network.sigma_max, samples.START), LEVELS)
    errors = {prior: np.empty((len(x), len(grid))) for prior in ladder}
    for level, s in enumerate(progress(list(grid), "shift curves")):
        noise = KeyedNoise([(bench.config.seed, "shift", i, s) for i in ids.tolist()], x.shape[1:])()
        for prior, rival in ladder.items():
            estimate = rival.denoise(x + s * noise, torch.full((len(x),), float(s)))
            errors[prior][:, level] = (estimate - x).square().flatten(1).sum(1)
    return errors, grid


def _static(ladder: dict[str, Rival], names: list[str]) -> pd.DataFrame:
    """Frechet distances between images of each prior and of each class."""
    rows = []
    for metric, embed in (("pixels", distances.pixels), ("frechet", distances.Features())):
        moments = {prior: distances.moments(embed(rival.images)) for prior, rival in ladder.items()}
        for prior in ladder:
            for target in names:
                rows.append((prior, target, metric, distances.frechet(*moments[prior], *moments[target])))
    return pd.DataFrame(rows, columns=["prior", "target", "metric", "value"])
