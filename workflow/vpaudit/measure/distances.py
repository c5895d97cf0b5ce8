"""Distances between sets of images that are in common use for generative models: Frechet (FID) and kernel (KID).

On pooled features of LPIPS' AlexNet backbone, since Inception's weights are no part of this environment.
"""

import numpy as np
import torch

from vpaudit.measure import metrics


class Features:
    """Pooled last layer of the AlexNet backbone: (N, C, H, W) images in [-1, 1] to (N, 256) float64."""

    def __init__(self):
        self.backbone = metrics.Lpips("alex")

    def __call__(self, images: torch.Tensor) -> np.ndarray:
        made = [maps[-1].mean(dim=(2, 3)) for maps in self.backbone.maps(images)]
        return torch.cat(made).double().numpy()


def pixels(images: torch.Tensor) -> np.ndarray:
    """The pixels themselves, (N, C H W) float64."""
    return images.flatten(1).double().numpy()


def moments(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of (n, D) rows."""
    return rows.mean(axis=0), np.cov(rows.T)


def frechet(mean_a, cov_a, mean_b, cov_b) -> float:
    """|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a^1/2 C_b C_a^1/2)^1/2), by symmetric eigenvalues; >= 0 (1706.08500)."""
    values, vectors = np.linalg.eigh(cov_a)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ cov_b @ root), 0)).sum()
    return max(0.0, float(np.square(mean_a - mean_b).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * cross))


def kernel(a: np.ndarray, b: np.ndarray) -> float:
    """Unbiased squared MMD of (n, D) and (m, D) rows with the kernel (x'y / D + 1)^3 (Binkowski 1801.01401)."""

    def mean(x, y, same):
        values = (x @ y.T / x.shape[1] + 1) ** 3
        return (values.sum() - np.trace(values)) / (len(x) * (len(x) - 1)) if same else values.mean()

    return float(mean(a, a, True) + mean(b, b, True) - 2 * mean(a, b, False))
