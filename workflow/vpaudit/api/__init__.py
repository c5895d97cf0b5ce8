"""What `import vpaudit` offers: the steps of an audit as functions, each a few lines over the package it names.

Images are float32 tensors (B, C, H, W) in [-1, 1]. Whatever is random is keyed by `seed` and by each image's id, so an
image's result does not depend on the images beside it.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from vpaudit import data
from vpaudit.attack import reconstruct as attack
from vpaudit.base import checks, pixels, places
from vpaudit.base.denoiser import Denoiser
from vpaudit.base.errors import VpauditError
from vpaudit.measure import metrics as measures
from vpaudit.priors import find, gaussian, network
from vpaudit.priors import folder as folders
from vpaudit.privacy import accounting
from vpaudit.privacy import rero as robustness
from vpaudit.privacy.mechanism import RELEASES, Mechanism, Observation
from vpaudit.study import config as configuration
from vpaudit.study.config import Attack

__all__ = [
    "Mechanism", "Observation", "VpauditError", "compare", "epsilon", "load_images", "load_prior", "mu",
    "posterior_samples", "reconstruct", "release", "rero",
]  # fmt: skip
DATASET = "images"  # in the keys of random draws: images given as tensors have no other name


def load_images(name: str, count: int, *, split: str = "test", seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Images of a data set, a random choice keyed by `seed`.

    Args:
        name: a data set's card, such as "fashion_mnist" (2,000 test images are shipped) or "digits".
        split: "test" or "train".

    Returns:
        images, float32 (count, C, H, W) in [-1, 1], and their classes, int64 (count,).

    Raises:
        VpauditError: an unknown data set, or fewer images than asked for.
    """
    found = data.draw(name, split, int(checks.whole(count=count)), seed)
    return pixels.from_uint8(found.images), torch.from_numpy(found.labels)


def load_prior(name: str | Path, *, device: str = "cpu", precision: str = "auto", rows: int = network.ROWS) -> Denoiser:
    """A prior over images: what the adversary knows before it sees the release.

    Args:
        name: a shipped or fetched prior ("fashion_mnist_dit", "fashion_mnist_gaussian"), or a diffusers folder.
        precision: of a network: "float32", "bfloat16", or "auto", bfloat16 on a CPU that computes in it.
        rows: images in each network evaluation, which is filled up to it: fewer cost less time where there are few
            images. Results agree for every number of rows up to round-off, and exactly for the same one.

    Raises:
        VpauditError: no such prior, or one that is altered, incomplete or of a kind that is not understood.
    """
    known = places.priors().get(str(name), Path(name))
    if (known / "gaussian.safetensors").exists() and not folders.holds_prior(known):
        return gaussian.load(known).to(device)
    folder = find.folder(name)
    prior = network.load(folder, device, precision, int(checks.whole(rows=rows)))
    if prior.few_step and prior.gaussian is None:
        beside = find.gaussian(prior.shape, find.near(folder))
        prior.gaussian = beside and gaussian.load(beside).to(device)
    return prior


def release(
    images: torch.Tensor | np.ndarray,
    mu: float,
    *,
    max_grad_norm: float = 1.0,
    labels: Sequence[int] | torch.Tensor | None = None,
    ids: Sequence[int] | torch.Tensor | None = None,
    seed: int = 0,
    by: str = "analytic",
) -> Observation:
    """What one step of DP-SGD lets out of each image: y = lambda x + sigma z, lambda = min(1, C / |x|), sigma = C / mu.

    Args:
        images: float (B, C, H, W) in [-1, 1], or uint8 pixels (B, H, W) or (B, H, W, C).
        mu: C / sigma > 0, the inverse of the noise multiplier; one release is mu-GDP (Dong et al. 1905.02383).
        max_grad_norm: the clipping norm C > 0; below an image's norm, the image is clipped.
        labels: (B,) classes, for attacks that are told one; ids: (B,) names of the images, by default 0, 1, 2 …
        by: "analytic", the formula, or "opacus", the gradient that Opacus really clipped and noised.

    Raises:
        VpauditError: images of another shape or range, a number out of range, labels or ids of another length.
    """
    x = _images(images)
    if by not in RELEASES:
        raise VpauditError(f"by={by!r} is no way to release an image", f"use one of {', '.join(RELEASES)}")
    names = _whole_numbers("ids", range(len(x)) if ids is None else ids, len(x))
    classes = _whole_numbers("labels", [-1] * len(x) if labels is None else labels, len(x))
    return RELEASES[by](x, names, classes, Mechanism(mu, max_grad_norm), DATASET, seed)


def reconstruct(
    observation: Observation,
    prior: Denoiser | None,
    kind: str = "ddim",
    *,
    steps: int = 16,
    conditioning: str = "unconditional",
    seed: int = 0,
    **options,
) -> torch.Tensor:
    """The adversary's best guess of each image: the prior's reverse process, started at the noise of the release.

    Args:
        prior: None for kind "raw".
        kind: "ddim" (the paper's), "multistep", "heun", "ddrm", "few_step", "posterior_mean" (one evaluation), "wiener"
            (with a Gaussian prior), or "raw" (the release, its clipping undone).
        steps: noise levels, each a network evaluation (two for heun), >= 1.
        conditioning: "unconditional", "true_class" or "wrong_class", where labels were released.
        options: eta, order, churn, spacing, as in `config.Attack`.

    Returns:
        float32 (B, C, H, W), clipped to [-1, 1].

    Raises:
        VpauditError: an unknown kind or option, a prior of another shape, noise outside the prior's range.
    """
    settings = _attack(name=kind, kind=kind, steps=steps, conditioning=[conditioning], **options)
    if prior is None and kind != "raw":
        raise VpauditError(f"kind={kind!r} needs a prior", 'give load_prior(...), or use kind="raw"')
    return attack.reconstruct(observation, prior, settings, seed, conditioning).cpu()


def posterior_samples(
    observation: Observation, prior: Denoiser, count: int = 4, *, steps: int = 20, seed: int = 0
) -> torch.Tensor:
    """Images that the release and the prior allow. Under the right prior, two samples are on average as far apart (in
    squared error) as each is from the target.

    The stochastic multistep sampler of Xue et al. (2309.05019) at eta = 1, as in the embedded study.

    Args:
        count: samples of each image, >= 1; steps: network evaluations of each, >= 1.

    Returns:
        float32 (count, B, C, H, W) in [-1, 1].

    Raises:
        VpauditError: see `reconstruct`.
    """
    settings = _attack(name="ddpm", kind="multistep", steps=steps, eta=1.0, draws=count)
    draws = [attack.reconstruct(observation, prior, settings, seed, draw=k) for k in range(count)]
    return torch.stack(draws).cpu()


def compare(
    images: torch.Tensor, targets: torch.Tensor, metrics: Sequence[str] = tuple(measures.FUNCTIONS)
) -> dict[str, torch.Tensor]:
    """Distances and similarities of each pair of images, unreduced.

    Args:
        images, targets: float (B, C, H, W) in [-1, 1].
        metrics: "mse" (on [-1, 1], four times that on [0, 1]), "psnr" (dB), "ssim", "ncc", and "lpips_vgg", called
            "lpips_vgg_64" for images under 64 pixels, which it enlarges.

    Returns:
        {metric: float32 (B,)}.

    Raises:
        VpauditError: shapes that differ, a value that is not finite or out of range, an unknown metric.
    """
    x, y = _images(images), _images(targets)
    deep = [name for name in metrics if name == measures.lpips_name(x.shape)]
    found = measures.compute([name for name in metrics if name not in deep], x, y)
    if deep:
        lpips = _lpips()
        found[deep[0]] = lpips.distance(lpips.features(x), lpips.features(y))
    return {name: found[name] for name in metrics}


def epsilon(mu, delta: float = 1e-5, *, sample_rate: float = 1.0, steps: int = 1):
    """epsilon of a training of `steps` steps, each of signal-to-noise ratio mu.

    Exact for sample_rate = 1 (Dong et al. 1905.02383, Cor. 2.13); for Poisson sampling an upper bound, from the privacy
    loss distribution of dp-accounting.

    Args:
        mu: C / sigma of one step > 0, the inverse of its noise multiplier; an array where sample_rate is 1.
        delta: in (0, 1); sample_rate: in (0, 1]; steps: 1 to 1,000,000.

    Raises:
        VpauditError: a number out of range, or an epsilon above 1e5, beyond what is verified.
    """
    mu = checks.positive(mu=mu)
    _, sample_rate, steps = accounting.check_training(1.0, sample_rate, steps)
    if sample_rate == 1:
        return accounting.epsilon_of_mu(np.sqrt(steps) * mu, delta)
    return accounting.epsilon_poisson(float(1 / mu), sample_rate, steps, delta)


def mu(epsilon: float, delta: float = 1e-5, *, sample_rate: float = 1.0, steps: int = 1) -> float:
    """mu = C / sigma of each step of a training that is (epsilon, delta)-DP as a whole: the inverse of `epsilon`.

    Args:
        epsilon: 0.001 to 100,000; the others as in `epsilon`.
    """
    return 1 / accounting.noise_multiplier_for_epsilon(epsilon, delta, sample_rate, steps)


def rero(mu, kappa, *, sample_rate: float = 1.0, steps: int = 1):
    """The most that an adversary who sees the releases alone can do with n = 1 / kappa equally likely candidates: name
    the right one. One that is told more of the target may exceed it (`vpaudit bound advantage`).

    gamma = Phi(sqrt(steps) mu + Phi^-1(kappa)) for sample_rate = 1 (Kaissis et al. 2307.03928); for Poisson sampling an
    upper bound, from the privacy loss distribution (Hayes et al. 2302.07225).

    Args:
        mu: C / sigma of one step >= 0; kappa: in (0, 1); arrays where sample_rate is 1.

    Returns:
        gamma, the probability of success, in [kappa, 1].
    """
    mu = checks.non_negative(mu=mu)
    _, sample_rate, steps = accounting.check_training(1.0, sample_rate, steps)
    if sample_rate == 1:
        return robustness.gamma_of_mu(np.sqrt(steps) * mu, kappa)
    return robustness.gamma_poisson(float(1 / checks.positive(mu=mu)), sample_rate, steps, kappa).high


# ---------------------------------------------------------------- checks


def _images(images) -> torch.Tensor:
    """float32 (B, C, H, W) in [-1, 1], from such images or from bytes."""
    if isinstance(images, np.ndarray) and images.dtype == np.uint8 and images.ndim in (3, 4):
        return pixels.from_uint8(images)
    x = torch.as_tensor(images)
    if x.ndim != 4 or not x.is_floating_point():
        raise VpauditError(
            f"images of shape {tuple(x.shape)} and type {x.dtype}",
            "give floats (B, C, H, W) in [-1, 1], or a NumPy array of bytes, (B, H, W) or (B, H, W, C)",
        )
    low, high = (float(x.min()), float(x.max())) if x.numel() else (np.nan, np.nan)
    if not pixels.LOW <= low <= high <= pixels.HIGH:
        raise VpauditError(
            f"images have values from {low:g} to {high:g}", "give at least one, with finite values in [-1, 1]"
        )
    return x.float()


def _whole_numbers(name: str, values, count: int) -> torch.Tensor:
    """int64 (count,)."""
    numbers = torch.as_tensor(list(values))
    if numbers.shape != (count,) or numbers.is_floating_point():
        raise VpauditError(f"{name} of shape {tuple(numbers.shape)}, {numbers.dtype}", f"give {count} whole numbers")
    return numbers.long()


def _attack(**options) -> Attack:
    """An attack's settings, checked as those of a study; what is wrong is named."""
    return configuration.resolve({"attacks": [options]}, "the call").attacks[0]


@lru_cache
def _lpips() -> measures.Lpips:
    return measures.Lpips()
