"""What is recognised in a reconstruction beyond its pixels: which image it is of, among others, and of which class.

Images are points: their pixels (squared distance: MSE), or their features (squared distance: LPIPS, here by AlexNet,
which takes a hundredth of the memory of VGG).
"""

from collections.abc import Iterable

import numpy as np
import torch
from scipy.special import gammaln

from vpaudit.measure import metrics

COMPONENTS = 100  # of the features, at most, that a classifier sees
PENALTY = 0.05  # scikit-learn's C of its logistic regression
CANDIDATES = (10, 100, 1000)  # among which the chance of being named is told
NEIGHBOURS = 25  # public images of about the same norm, whose commonest class is guessed


class Features:
    """(N, C, H, W) images in [-1, 1] to (N, D) points whose squared distance is LPIPS-AlexNet.

    Raises:
        BackboneMissing: its weights are not here.
    """

    def __init__(self, device: str = "cpu"):
        self.lpips = metrics.Lpips("alex", device=device)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        return self.lpips.features(images).cpu()


def nearer(made: torch.Tensor, own: torch.Tensor, candidates: Iterable[torch.Tensor]) -> np.ndarray:
    """(B,): how many candidates are nearer to an output than its target is.

    Args:
        made, own: (B, D) points of outputs and targets; candidates: batches (b, D), the targets may be among them.
    """
    distance = (made - own).square().sum(dim=1, dtype=torch.float64)
    limit = distance - 1e-6 * (1 + distance)  # the target, met again among the candidates, is not nearer than itself
    found, made = torch.zeros(len(made), dtype=torch.int64), made.double()
    for batch in candidates:
        found += (torch.cdist(made, batch.double()).square() < limit[:, None]).sum(dim=1)
    return found.numpy()


def chance(nearer: np.ndarray, others: int, n: int) -> np.ndarray:
    """(B,): how likely an output is nearer to its target than to all of n - 1 others, of `others` at random.

    Hypergeometric: of K others k are nearer, so C(K - k, n - 1) / C(K, n - 1).
    """
    left = others - nearer
    found = np.exp(_log_choose(np.maximum(left, n - 1), n - 1) - _log_choose(others, n - 1))
    return np.where(left >= n - 1, found, 0.0)


def _log_choose(n, k):
    return gammaln(n + 1.0) - gammaln(k + 1.0) - gammaln(n - k + 1.0)


def classifier(features: np.ndarray, labels: np.ndarray):
    """Logistic regression on the principal components of (n, D) features; a scikit-learn estimator of labels (n,)."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    components = PCA(min(COMPONENTS, *features.shape), svd_solver="randomized", random_state=0)
    last = LogisticRegression(C=PENALTY, max_iter=500)
    return make_pipeline(components, StandardScaler(), last).fit(features, labels)


def by_norm(norms: np.ndarray, labels: np.ndarray):
    """The guess of who knows nothing but |x|, which lambda tells: the commonest class among public images of that norm.

    Args:
        norms, labels: (n,) of public images. The estimator takes (B, 1) norms.
    """
    from sklearn.neighbors import KNeighborsClassifier

    return KNeighborsClassifier(min(NEIGHBOURS, len(labels))).fit(norms[:, None], labels)


def norms(images: torch.Tensor) -> np.ndarray:
    """(n,) of (n, C, H, W) images."""
    return images.flatten(1).norm(dim=1).numpy()
