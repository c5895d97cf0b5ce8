"""The bounds of a study as one table: a row per bound, mu and metric."""

import numpy as np
import pandas as pd

from vpaudit.privacy import accounting, floor, rero, uninformed


def table(norms: np.ndarray, variances: np.ndarray, count: int, mechanism, settings) -> pd.DataFrame:
    """Uninformed law, (0, gamma)-ReRo and epsilon over the grid of mu.

    Args:
        norms, variances: (N,) of images in [-1, 1] and of their pixels, which enter the uninformed law.
        count: pixels of an image, channels counted.
        mechanism, settings: the sections `mechanism` and `bounds` of the configuration.

    Returns:
        columns bound, mu, kappa, metric, value, low, high. For the uninformed law value is the expectation over noise
        and images, low and high the mean 2.5 % and 97.5 % quantiles; elsewhere low = high = value. That of "rero" is
        gamma, on no metric's axis.
    """
    kappa = 1.0 / settings.candidates
    rows = []
    for mu in mechanism.mu:
        s = uninformed.effective_noise(norms, mu, mechanism.max_grad_norm)
        rows += _uninformed_rows(mu, s, variances, count)
        gamma = float(rero.gamma_of_mu(mu, kappa))
        rows.append(("rero", mu, kappa, "gamma", gamma, gamma, gamma))
        epsilon = float(accounting.epsilon_of_mu(mu, mechanism.delta))
        rows.append(("epsilon", mu, np.nan, "epsilon", epsilon, epsilon, epsilon))
    return pd.DataFrame(rows, columns=["bound", "mu", "kappa", "metric", "value", "low", "high"])


def floors(images: np.ndarray, mechanism) -> pd.DataFrame:
    """Rows of bound "floor": no attack that is not told lambda has a smaller expected MSE, with 95 % confidence.

    Args:
        images: (n, N) in [-1, 1], independent and of the attacked kind.
    """
    values = floor.certified_by_images(images, np.array(mechanism.mu), mechanism.max_grad_norm)
    return pd.DataFrame({
        "bound": "floor", "mu": mechanism.mu, "kappa": np.nan, "metric": "mse", "value": values, "low": values,
        "high": values,
    })  # fmt: skip


def _uninformed_rows(mu, s, variances, count) -> list[tuple]:
    def row(metric, value, low, high):
        return ("uninformed", mu, np.nan, metric, *(float(np.mean(v)) for v in (value, low, high)))

    ncc = uninformed.ncc_mean(s, variances)
    return [
        row(
            "mse",
            uninformed.mse_mean(s),
            uninformed.mse_quantile(0.025, s, count),
            uninformed.mse_quantile(0.975, s, count),
        ),
        row(
            "psnr",
            uninformed.psnr_mean(s, count),
            uninformed.psnr_quantile(0.025, s, count),
            uninformed.psnr_quantile(0.975, s, count),
        ),
        row("ncc", ncc, ncc, ncc),
    ]
