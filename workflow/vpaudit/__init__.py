"""Visual privacy auditing with diffusion models.

From Python, without Snakemake (docs/api.md; torch is imported when a name is used first):

    images, _ = vpaudit.load_images("fashion_mnist", 8)
    guess = vpaudit.reconstruct(vpaudit.release(images, mu=10), vpaudit.load_prior("fashion_mnist_dit"))
    vpaudit.compare(guess, images)

As a study: data -> privatize -> reconstruct -> evaluate -> consistency, bounds -> figures -> report.
"""

import importlib

__version__ = "0.1.0"
__all__ = [
    "Mechanism", "Observation", "VpauditError", "compare", "epsilon", "load_images", "load_prior", "mu",
    "posterior_samples", "reconstruct", "release", "rero",
]  # fmt: skip


def __getattr__(name: str):
    if name in __all__:
        return getattr(importlib.import_module("vpaudit.api"), name)
    raise AttributeError(f"module 'vpaudit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
