"""Were the attacked images among those that a prior, or a Gaussian fit, was trained on? As far as can be told here.

Images are compared by the hash of their pixels, after the same crop and resize: an exact copy is found, a near
duplicate or another encoding of the same photograph is not.
"""

import hashlib

import numpy as np

from vpaudit.data.images import ImageSet


def examine(targets: ImageSet, training: ImageSet | None, prior: dict) -> dict:
    """What is known of the overlap.

    Args:
        training: the training images that are here, or None.
        prior: the prior's card; its `trained_on` is repeated.

    Returns:
        compared: how many training images; found: ids of targets among them; twice: ids of targets that occur twice;
        prior_trained_on: what the prior's card says, which is all that is known of the rest.
    """
    own = hashes(targets.images)
    seen = set(hashes(training.images)) if training is not None else set()
    return {
        "targets": len(targets),
        "compared": 0 if training is None else len(training),
        "found": [int(i) for i, digest in zip(targets.ids, own) if digest in seen],
        "twice": [int(i) for i, digest in zip(targets.ids, own) if own.count(digest) > 1],
        "prior_trained_on": prior.get("trained_on") or prior.get("data") or "its card does not say",
    }


def text(found: dict) -> str:
    """A sentence for people."""
    lines = [f"{len(found['found'])} of {found['targets']} targets are among {found['compared']} training images here"]
    if found["compared"] == 0:
        lines = ["no training images are here to compare with"]
    if found["twice"]:
        lines.append(f"{len(found['twice'])} targets occur twice among themselves")
    return "; ".join([*lines, f"the prior was trained on: {found['prior_trained_on']}"])


def hashes(images: np.ndarray) -> list[bytes]:
    return [hashlib.blake2b(np.ascontiguousarray(image).tobytes(), digest_size=16).digest() for image in images]
