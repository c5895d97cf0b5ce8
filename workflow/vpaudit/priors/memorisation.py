"""Did a network learn its training images by heart? Its samples' nearest training images, beside held-out images'."""

import torch

from vpaudit.base.pixels import DATA_RANGE, floated

NEIGHBOURS = 10
QUANTILE = 0.01  # of held-out images that are as near to a training image by chance
MOST = 0.05  # share of samples below that quantile, above which the network is said to have memorised
AT_ONCE = 4096  # training images


def distances(images: torch.Tensor, training: torch.Tensor) -> torch.Tensor:
    """(N, NEIGHBOURS): root mean square distances, in grey levels of 255, to the nearest training images, rising.

    Args:
        images: float32 (N, C, H, W) in [-1, 1]; training: (M, C, H, W), float32 or uint8, on the same device.
    """
    flat, found = images.flatten(1), []
    for part in training.split(AT_ONCE):
        far = torch.cdist(flat, floated(part).flatten(1))
        found.append(far.topk(min(NEIGHBOURS, far.shape[1]), largest=False).values)
    near = torch.cat(found, 1)
    near = near.topk(min(NEIGHBOURS, near.shape[1]), largest=False).values
    return near * (255 / DATA_RANGE) / flat.shape[1] ** 0.5


def examine(samples: torch.Tensor, held_out: torch.Tensor, training: torch.Tensor) -> dict:
    """What a card says of it.

    Smooth images are near to everything, so that a distance alone says little: what counts is how much nearer the
    nearest training image is than the tenth nearest.

    Returns:
        median distance of samples and of held-out images to their nearest training image, in grey levels; the share of
        samples whose ratio of nearest to tenth nearest is below the 1 % quantile of the held-out images'; memorised:
        whether that is more than 5 %.
    """
    ours, theirs = distances(samples, training), distances(held_out, training)
    ratio, usual = (part[:, 0] / part[:, -1].clamp_min(1e-9) for part in (ours, theirs))
    share = float((ratio < usual.quantile(QUANTILE)).float().mean())
    return {
        "samples": len(samples),
        "nearest_training_image_of_samples": round(float(ours[:, 0].median()), 2),
        "nearest_training_image_of_held_out": round(float(theirs[:, 0].median()), 2),
        "share_nearer_than_1_percent_of_held_out": round(share, 4),
        "memorised": share > MOST,
    }
