"""Distances and similarities between images, unreduced: (B, C, H, W) x (B, C, H, W) in [-1, 1] -> (B,).

A metric's name carries its variant. Nothing is clipped or stretched here; the attack clips its output, once.
"""

import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from vpaudit.base.errors import VpauditError
from vpaudit.base.pixels import DATA_RANGE
from vpaudit.measure import lpips_weights, winograd
from vpaudit.measure.lpips_weights import BackboneMissing

__all__ = ["BackboneMissing", "Lpips", "compute", "lpips_name", "mse", "ncc", "psnr", "ssim"]


def _check(image: torch.Tensor, target: torch.Tensor) -> None:
    if image.ndim != 4 or image.shape != target.shape:
        raise VpauditError(
            f"cannot compare images of shape {tuple(image.shape)} and {tuple(target.shape)}", "give two (B, C, H, W)"
        )
    if not (torch.isfinite(image).all() and torch.isfinite(target).all()):
        raise VpauditError("an image to compare holds NaN or infinity", "look for it in the stage before")


def mse(image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean squared error over pixels, on [-1, 1]: four times that on [0, 1]."""
    _check(image, target)
    return (image - target).square().flatten(1).mean(1)


def psnr(image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """10 log10(4 / MSE) dB, since the data range is 2 (torchmetrics)."""
    _check(image, target)
    return peak_signal_noise_ratio(image, target, data_range=DATA_RANGE, reduction="none", dim=(1, 2, 3))


def ssim(image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Wang et al. 2004 by torchmetrics: Gaussian window 11, sigma 1.5, k1 .01, k2 .03, range 2, borders reflected.

    Sides under 11 pixels: a uniform window of the largest odd size that fits.
    """
    _check(image, target)
    side = min(image.shape[-2:])
    kernel = {} if side >= 11 else {"gaussian_kernel": False, "kernel_size": side - 1 + side % 2}
    return structural_similarity_index_measure(image, target, data_range=DATA_RANGE, reduction="none", **kernel)


def ncc(image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Pearson correlation over all pixels; 0 where either image is constant."""
    _check(image, target)
    a, b = (v.flatten(1).double() - v.flatten(1).double().mean(1, keepdim=True) for v in (image, target))
    scale = a.norm(dim=1) * b.norm(dim=1)
    return torch.where(scale > 1e-12, (a * b).sum(1) / scale.clamp_min(1e-12), 0.0).float()


FUNCTIONS = {"mse": mse, "psnr": psnr, "ssim": ssim, "ncc": ncc}


def lpips_name(shape) -> str:
    """What LPIPS-VGG is called for images of this (..., H, W): the name says whether they were enlarged."""
    return "lpips_vgg_64" if min(shape[-2:]) < 64 else "lpips_vgg"


def compute(names, image: torch.Tensor, target: torch.Tensor) -> dict[str, torch.Tensor]:
    """The named metrics of each pair, float32 (B,). LPIPS has a class of its own, because it keeps features.

    Raises:
        VpauditError: shapes differ or are not (B, C, H, W), a value is not finite, an unknown name.
    """
    unknown = [name for name in names if name not in FUNCTIONS]
    if unknown:
        raise VpauditError(f"no metric {unknown[0]!r} of a pair of images", f"known: {', '.join(FUNCTIONS)}; or Lpips")
    _check(image, target)
    return {name: FUNCTIONS[name](image, target).float() for name in names}


class Lpips:
    """Zhang et al. 1801.03924 (official `lpips`, version 0.1 heads), with features kept so that a target costs once.

    Args:
        net: "vgg" or "alex".
        size: grey images are repeated to RGB, smaller ones bilinearly enlarged to this side (below 64 pixels the
            backbone's last maps vanish).
        batch: images a backbone pass: 64 at once take a third longer on a CPU, whose caches do not hold their maps.
    """

    def __init__(self, net: str = "vgg", size: int = 64, device: str = "cpu", batch: int = 16):
        import lpips

        with warnings.catch_warnings(), torch.device("meta"):  # without memory: to draw weights at random takes seconds
            warnings.simplefilter("ignore", UserWarning)  # lpips calls torchvision by an old name
            self.model = lpips.LPIPS(net=net, pretrained=False, pnet_rand=True, verbose=False)
        names = [name for name, _ in self.model.net.named_parameters()]
        weights = lpips_weights.state_dict(net)
        by_index = {name.split(".", 1)[1]: name for name in names}  # "slice2.5.weight" -> "5.weight"
        self.model.net.load_state_dict({by_index[key]: value for key, value in weights.items()}, assign=True)
        heads = Path(lpips.__file__).parent / f"weights/v0.1/{net}.pth"
        self.model.load_state_dict(torch.load(heads, map_location="cpu"), strict=False, assign=True)
        self.model.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)
        if device == "cpu":
            winograd.quicken(self.model.net)
        self.net, self.size, self.device, self.batch = net, size, device, batch

    def prepare(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 1 or 3, H, W) in [-1, 1] to RGB of at least `size` pixels."""
        if images.ndim != 4 or images.shape[1] not in (1, 3):
            raise VpauditError(f"LPIPS cannot take images of shape {tuple(images.shape)}", "give (B, 1 or 3, H, W)")
        if not torch.isfinite(images).all():
            raise VpauditError("an image for LPIPS holds NaN or infinity", "look for it in the stage before")
        if images.shape[1] == 1:
            images = images.expand(-1, 3, -1, -1)
        if min(images.shape[-2:]) < self.size:
            images = torch.nn.functional.interpolate(images, size=(self.size, self.size), mode="bilinear")
        return images.to(self.device, memory_format=torch.channels_last)

    @torch.inference_mode()
    def maps(self, images: torch.Tensor) -> Iterator[list[torch.Tensor]]:
        """Batch by batch, the unit-normalised feature maps (b, C_l, H_l, W_l) of each layer."""
        for part in images.split(self.batch):
            made = self.model.net(self.model.scaling_layer(self.prepare(part)))
            yield [m / (m.square().sum(1, keepdim=True) + 1e-10).sqrt() for m in made]

    @torch.inference_mode()
    def features(self, images: torch.Tensor) -> torch.Tensor:
        """(B, D): points whose squared Euclidean distance is LPIPS; 2 MB an image for VGG at 64 pixels.

        LPIPS is a sum over layers and channels of weights >= 0 times the mean squared difference of feature maps.
        """
        return torch.cat(
            [torch.cat([*map(self._weighted, maps, self.model.lins)], dim=1) for maps in self.maps(images)]
        )

    @staticmethod
    def _weighted(found: torch.Tensor, head: torch.nn.Module) -> torch.Tensor:
        weight = head.model[-1].weight / found[0, 0].numel()
        return (found * weight.sqrt()).permute(0, 2, 3, 1).flatten(1)

    @torch.inference_mode()
    def distance(self, a: Iterable[torch.Tensor], b: Iterable[torch.Tensor]) -> torch.Tensor:
        """LPIPS between images whose features these are, float32 (B,); (B, D), or B rows, which need no copy."""
        return torch.stack([torch.linalg.vector_norm(x - y).square() for x, y in zip(a, b, strict=True)]).cpu()
