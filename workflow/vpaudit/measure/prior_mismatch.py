"""How far images are from those a prior knows: the excess of its denoising error, summed up over the noise.

If p is the law of the images and q the prior, then at noise s (Verdu 2010, bounds/information.py)

    KL(p_s || q_s) = 1/2 integral of (mse_q on p - mmse_p) over snr from 0 to 1/s^2.

mmse_p is not known. In its place stands the prior's own error on images of its kind, so what is computed is an excess
in nats an image: near 0 where the images are as hard for the prior as its own, large where they are not its kind.
Images that are simpler than its own give a negative excess, which does not make them its kind.
"""

import numpy as np
import pandas as pd

from vpaudit.base import stats
from vpaudit.priors import HELD_OUT_SIGMAS
from vpaudit.privacy import information

SAMPLES, STEPS = 64, 40  # of the prior itself, where its card says nothing of held-out images
FAR = 0.1  # an excess of more than this share of the error on the prior's own kind is called far


def errors(prior, images, keys, levels=HELD_OUT_SIGMAS):
    """Squared error of the posterior mean, summed over pixels.

    Args:
        prior: a `Denoiser`; images: float32 tensor (N, C, H, W) in [-1, 1]; keys: N of them, for the noise.
        levels: noise std, those above the prior's range are left out.

    Returns:
        {s: float64 (N,)}.
    """
    import torch

    from vpaudit.base.randomness import KeyedNoise

    found = {}
    for s in levels:
        if s <= prior.sigma_max:
            noise = KeyedNoise([("domain", s, key) for key in keys], images.shape[1:])()
            estimate = prior.denoise(images + s * noise, torch.full((len(images),), float(s)))
            found[float(s)] = (estimate - images).double().square().flatten(1).sum(1).numpy()
    return found


def usual(card: dict, prior, shape) -> dict[float, float]:
    """Squared error per pixel on images of the prior's own kind by noise s, as its card gives it; empty if it does not.

    The card of a prior of any size gives that of crops. At another (C, H, W) it is taken to be larger or smaller as
    that of the Gaussian prior is, which the network corrects and whose error is known at each size.
    """
    from vpaudit.base.denoiser import AnySize
    from vpaudit.priors.batches import SIDES

    found = {float(s): error for s, error in card.get("held_out_mse_by_sigma", {}).items()}
    if not found or not isinstance(prior.shape, AnySize):
        return found
    here, crop = (prior.gaussian.at(*size).variances.double() for size in (shape[1:], (SIDES[0], SIDES[0])))
    return {s: error * float(_least(here, s) / _least(crop, s)) for s, error in found.items()}


def _least(variances, s: float):
    """Mean squared error of the posterior mean under a Gaussian prior of these variances."""
    return (variances * s**2 / (variances + s**2)).mean()


def excess(table: pd.DataFrame, at: float) -> dict:
    """The distance at noise `at` and above.

    Args:
        table: columns image, s, value (squared error summed over pixels), reference (the same, of the prior's kind).
        at: noise std; below the lowest level measured it is taken as that.

    Returns:
        s; nats, low, high: an image, with the 95 % interval over the images (the reference's own error is not in it);
        share, share_low, share_high: of the error on images of the prior's kind.
    """
    errors = table.pivot_table(index="image", columns="s", values="value")
    s = errors.columns.to_numpy(dtype=float)
    reference = table.groupby("s")["reference"].first().loc[errors.columns].to_numpy()
    at = float(np.clip(at, s.min(), s.max()))
    own = np.array([information.integral_over_snr(s, row, at) for row in errors.to_numpy()])
    usual = float(information.integral_over_snr(s, reference, at))
    value, low, high = (float(v) for v in stats.bootstrap(own - usual))
    shares = {k: v / usual for k, v in (("share", value), ("share_low", low), ("share_high", high))}
    return {"s": at, "nats": value, "low": low, "high": high, **shares, "n": len(own)}
