"""A measure that does not depend on size: the same images at several sizes, attacked at equal mu, measured in turn.

The prior is `SpectralPrior`, fitted at each size on other images, so that only size differs. Measures: MSE, SSIM and
LPIPS (at the image's own size; LPIPS below 64 pixels enlarged to 64), and what theory offers in their place:

    bits           1/2 sum log2(1 + l_k / s^2), what the release tells about an image of this covariance
    bits_per_dof   bits over degrees of freedom resolved, sum l_k / (l_k + s^2)
    recovered      share of the image's variance about the mean that the reconstruction explains
    recovered_low  the same of patterns of up to `LOW` cycles an image, which exist at every size
"""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from vpaudit import data
from vpaudit.base import pixels
from vpaudit.experiments.bench import SHARED, Bench, progress
from vpaudit.measure import metrics
from vpaudit.priors.cosine import frequency
from vpaudit.priors.spectral import SpectralPrior
from vpaudit.privacy.mechanism import Mechanism, release_analytic

TEST = 48
LOW = 3.5  # cycles an image: what 7 pixels resolve
MUS = (2.0, 5.0, 10.0, 20.0, 50.0, 100.0)


def sources(bench: Bench) -> dict[str, tuple[np.ndarray, np.ndarray, tuple[int, ...]]]:
    """name -> (images to fit, images to attack, sizes): the study's own, and those of ../shared/data where it is."""
    name = bench.config.data.name
    train, test = data.load(name, "train").images, data.load(name, "test").images[:TEST]
    side = test.shape[1]
    found = {name: (train, test, (side // 4, side // 2, side, 2 * side))}
    for file, sizes in (("faces_utk_200.zip", (16, 32, 64, 128)), ("imagenet_256.zip", (32, 64, 128, 256))):
        if (SHARED / file).exists():
            images = data.load_local(SHARED / file, size=sizes[-1]).images
            found[Path(file).stem] = (images[TEST:], images[:TEST], sizes)
    return found


def run(bench: Bench) -> pd.DataFrame:
    """Columns source, size, mu, metric, value, one row an image."""
    tables = []
    for source, (train, test, sizes) in sources(bench).items():
        for size in progress(sizes, f"scale {source}"):
            known, x = (resized(pixels.from_uint8(part), size) for part in (train, test))
            tables.append(_at_size(bench, source, size, SpectralPrior.fit(known), x))
    return pd.concat(tables, ignore_index=True)


def resized(images: torch.Tensor, size: int) -> torch.Tensor:
    """(N, C, size, size): area averages downwards, bilinear upwards."""
    if size == images.shape[-1]:
        return images
    if size < images.shape[-1]:
        return torch.nn.functional.interpolate(images, size=(size, size), mode="area")
    return torch.nn.functional.interpolate(images, size=(size, size), mode="bilinear", align_corners=False)


def _at_size(bench: Bench, source: str, size: int, prior: SpectralPrior, x: torch.Tensor) -> pd.DataFrame:
    ids, tables = torch.arange(len(x)), []
    low = frequency(size, size) <= LOW
    truth = prior.transform(x - prior.mean)
    lpips = bench.meter.lpips
    features = lpips.features(x) if lpips else None
    for mu in MUS:
        seen = release_analytic(x, ids, ids, Mechanism(mu), f"{source} {size}", bench.config.seed)
        s = seen.s
        images = prior.denoise(seen.rescaled(), s).clamp(pixels.LOW, pixels.HIGH)
        error = truth - prior.transform(images - prior.mean)
        ratio = prior.variances / s[:, None, None, None] ** 2
        bits = 0.5 * torch.log2(1 + ratio).flatten(1).sum(1)
        values = {
            "mse": metrics.mse(images, x),
            "bits": bits,
            "bits_per_dof": bits / (ratio / (1 + ratio)).flatten(1).sum(1),
            "recovered": 1 - error.square().flatten(1).sum(1) / truth.square().flatten(1).sum(1),
            "recovered_low": 1
            - (error.square() * low).flatten(1).sum(1) / (truth.square() * low).flatten(1).sum(1).clamp_min(1e-12),
        }
        if size >= 11:  # SSIM's window
            values["ssim"] = metrics.ssim(images, x)
        if lpips:
            values["lpips"] = lpips.distance(lpips.features(images), features)
        rows = [
            pd.DataFrame({"metric": k, "value": v.double().numpy(), "image": ids.numpy()}) for k, v in values.items()
        ]
        tables.append(pd.concat(rows).assign(source=source, size=size, mu=mu))
    return pd.concat(tables, ignore_index=True)
