"""Which pixels of a reconstruction may be called real, with a limit on how many of them are wrong.

A pixel is called real where samples of the posterior agree on it, their spread being at most a limit. `trusted_spread`
finds that limit on images whose targets are known, so that for a new image exchangeable with these the expected share
of wrong pixels among those called is at most a rate, whatever the network: conformal risk control (Angelopoulos et al.
2208.02814, theorem 1). Most of what is called is background, so the limit says little of `content`, the rest. No torch.
"""

import numpy as np

from vpaudit.base import pixels

TOLERANCE = 0.2  # error of a pixel above which calling it real is wrong: a tenth of the range
RATE = 0.05  # of the pixels that are called real, the share that may be wrong
SPREADS = np.geomspace(1e-3, 1.0, 61)  # on trial, in pixel units; fixed beforehand, not chosen by the images


def content(images: np.ndarray) -> np.ndarray:
    """bool, like `images` (n, C, H, W) in [-1, 1]: off the most frequent shade of the image by more than `TOLERANCE`.

    In pictures of things that is what is not background; photographs have no such shade, and are all content.
    """
    shades = pixels.packed(images, "uint8").reshape(len(images), -1)
    commonest = np.array([np.bincount(row).argmax() for row in shades], dtype=np.uint8)
    return np.abs(images - pixels.per_image(pixels.signed(commonest))) > TOLERANCE


def spread(guess: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """(n, H, W): root mean square of samples (K, n, C, H, W) about a guess (n, C, H, W), the largest over channels.

    Four samples may be alike by chance; that they are also near the posterior mean is much less likely.
    """
    return np.sqrt(np.square(draws - guess.astype(float)).mean(axis=0)).max(axis=1)


def error(guess: np.ndarray, x: np.ndarray) -> np.ndarray:
    """(n, H, W): |guess - x| of (n, C, H, W), the largest over channels."""
    return np.abs(guess.astype(float) - x).max(axis=1)


def worst_shares(spread: np.ndarray, error: np.ndarray, counted: np.ndarray | None = None) -> np.ndarray:
    """(n, len(SPREADS)): of the pixels called at each limit the share that is wrong, the most over all smaller limits.

    The share itself need not fall with the limit, as risk control wants; this does, and is never below it.

    Args:
        spread: (n, pixels...), of samples; error: (n, pixels...) |guess - target|.
        counted: bool (n, pixels...), only these are called; None: all.
    """
    flat = [np.asarray(v).reshape(len(spread), -1) for v in (spread, error)]
    wrong = flat[1] > TOLERANCE
    counted = np.ones(wrong.shape, dtype=bool) if counted is None else np.asarray(counted).reshape(wrong.shape)
    shares = []
    for limit in SPREADS:
        some = (flat[0] <= limit) & counted
        shares.append((some & wrong).sum(axis=1) / np.maximum(some.sum(axis=1), 1))
    return np.maximum.accumulate(np.array(shares).T, axis=1)


def trusted_spread(worst: np.ndarray, rate: float = RATE) -> float:
    """The largest spread up to which pixels may be called real so that few of those called real are wrong.

    For a new image exchangeable with these n the false-discovery proportion (wrong pixels over pixels called, 0 if
    there are none) is at most `rate` in expectation over the new image and these.

    Args:
        worst: (n, len(SPREADS)) of `worst_shares`; rate: in (0, 1).

    Returns:
        one of `SPREADS`; 0 if none is small enough (n < 1 / rate - 1, or samples that agree and are wrong).
    """
    return _largest(worst.sum(axis=0), len(worst), rate)


def trusted_by_others(worst: np.ndarray, rate: float = RATE) -> np.ndarray:
    """(n,): of each image the `trusted_spread` of all others."""
    return np.array([_largest(rest, len(worst) - 1, rate) for rest in worst.sum(axis=0) - worst])


def _largest(total: np.ndarray, images: int, rate: float) -> float:
    good = int(((total + 1) / (images + 1) <= rate).sum())  # the first ones: the sum never falls
    return float(SPREADS[good - 1]) if good else 0.0
