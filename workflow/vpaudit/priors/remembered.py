"""A prior that is asked the same question once.

Attacks on one observation begin alike: the posterior mean, the first step of a sampler, and of each of its draws ask
the prior for the same image at the same noise. A prior's answer for an image depends on nothing that stands beside it
(design invariant 1), so an answer that is kept is the answer that it would give, to the bit.
"""

from collections import OrderedDict

import torch

from vpaudit.base.denoiser import Denoiser

BYTES = 2**28  # of answers, at most; the oldest go first


class Remembered:
    """`prior`, with its answers kept; everything else of it is as it was."""

    def __init__(self, prior: Denoiser, most: int = BYTES):
        self.prior, self.most, self.held = prior, most, 0
        self._answers: OrderedDict[tuple, torch.Tensor] = OrderedDict()

    def __getattr__(self, name: str):
        return getattr(self.prior, name)

    @torch.inference_mode()
    def denoise(self, x: torch.Tensor, sigma: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        """See `base.Denoiser`; the prior is asked for those images alone that are new."""
        told = [None] * len(x) if labels is None else labels.tolist()
        keys = list(zip((image.numpy().tobytes() for image in x.cpu()), sigma.tolist(), told))
        found = {key: self._answers[key] for key in keys if key in self._answers}
        new = [place for place, key in enumerate(keys) if key not in found]
        if new:
            made = self.prior.denoise(x[new], sigma[new], None if labels is None else labels[new])
            for place, answer in zip(new, made):
                found[keys[place]] = answer
                self._keep(keys[place], answer.clone())
        return torch.stack([found[key] for key in keys])

    def _keep(self, key: tuple, answer: torch.Tensor) -> None:
        self._answers[key] = answer
        self.held += 2 * answer.nbytes  # the question is as large
        while self.held > self.most:
            self.held -= 2 * self._answers.popitem(last=False)[1].nbytes
