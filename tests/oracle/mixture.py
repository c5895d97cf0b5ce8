"""A mixture of Gaussian priors: many modes, and still everything known exactly. Oracle, and a stronger closed form.

x0 ~ sum_k w_k N(m_k, C_k). Given x = x0 + sigma z, component k has the weight w_k N(x; m_k, C_k + sigma^2 I), and
within it the posterior is that of `GaussianPrior`.
"""

from collections.abc import Sequence

import torch
from closed_forms import log_density, sample_posterior

from vpaudit.base.errors import VpauditError
from vpaudit.priors.gaussian import GaussianPrior


class MixturePrior:
    """A `Denoiser` in closed form; with labels, the component is known.

    Args:
        components: priors of one shape.
        weights: (K,) > 0, normalised here.
    """

    sigma_min, sigma_max = 0.0, float("inf")

    def __init__(self, components: Sequence[GaussianPrior], weights: torch.Tensor):
        if len(components) != len(weights) or not bool((weights > 0).all()):
            raise VpauditError(
                f"{len(components)} components with weights {weights.tolist()}", "give a weight > 0 for each"
            )
        self.components, self.weights = list(components), weights.double() / weights.double().sum()
        self.shape, self.num_classes = components[0].shape, len(components)

    @classmethod
    def fit(cls, images: torch.Tensor, labels: torch.Tensor) -> "MixturePrior":
        """A component a class, by mean and covariance of its images (N, C, H, W); labels int64 (N,), 0 to K - 1."""
        classes = range(int(labels.max()) + 1)
        counts = torch.bincount(labels, minlength=len(classes))
        return cls([GaussianPrior.fit(images[labels == k]) for k in classes], counts)

    def log_density(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """float64 (B,): log density of x = x0 + sigma z, in nats."""
        return torch.logsumexp(self._log_terms(x, sigma), dim=1)

    def responsibilities(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """float64 (B, K): posterior weight of each component."""
        return torch.softmax(self._log_terms(x, sigma), dim=1)

    def denoise(self, x, sigma, labels=None):
        """See `base.Denoiser`."""
        means = torch.stack([c.denoise(x, sigma) for c in self.components], dim=1)
        if labels is not None:
            return means[torch.arange(len(x)), labels]
        shares = self.responsibilities(x, sigma).to(x.dtype)
        return (means * shares[..., None, None, None]).sum(dim=1)

    def sample(self, count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Images (N, C, H, W) and their components (N,)."""
        which = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        z = torch.randn((count, *self.shape), generator=generator)
        every = torch.stack([c.mean + c.colour(z) for c in self.components])
        return every[which, torch.arange(count)], which

    def sample_posterior(self, x, sigma, noise, generator: torch.Generator):
        """One exact posterior draw for each x, and its component, with standard normal `noise` of x's shape."""
        which = torch.multinomial(self.responsibilities(x, sigma), 1, generator=generator)[:, 0]
        every = torch.stack([sample_posterior(c, x, sigma, noise) for c in self.components])
        return every[which, torch.arange(len(x))], which

    def _log_terms(self, x, sigma):
        logs = torch.stack([log_density(c, x, sigma) for c in self.components], dim=1)
        return logs + self.weights.log()
