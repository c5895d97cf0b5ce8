"""Diffusion networks in diffusers' folder layout as a `Denoiser`.

What a folder may hold is in `folder`. With abar = 1 / (1 + sigma^2), a = sqrt(abar), b = sqrt(1 - abar), the
network sees a x and its output f means (Salimans & Ho 2202.00512, eq. 4 and appendix D):
epsilon: x0 = x - sigma f;  v_prediction: x0 = a (a x) - b f;  sample: x0 = f.

Three things diffusers' layout does not know. `fold` in the card: the network sees an image of side H as one of side H /
fold with fold^2 times the channels. A folder `gaussian/`: a v-prediction corrects the posterior mean a^2 x of pixels
that are N(0, 1); here it corrects that Gaussian prior's posterior mean W, x0 = W(x) - b f, and the network learns
only what a Gaussian does not know; if that Gaussian takes images of any size, so does a network without attention.
`trust` in the card: the share of the correction that held-out images bear out, x0 = W(x) - trust(sigma) b f.
"""

from pathlib import Path

import diffusers
import torch

from vpaudit.base import machine
from vpaudit.base.denoiser import AnySize, Shape
from vpaudit.base.errors import VpauditError
from vpaudit.base.pixels import per_image
from vpaudit.priors import folder, gaussian
from vpaudit.priors.schedule import SigmaTable, Trust, noise_range
from vpaudit.sampling import few_step

# Every call to the network has exactly this many rows (the last ones padded): matrix kernels may round differently for
# another batch shape, and an image's result must not depend on how many images stand beside it (design invariant 1).
ROWS = 64


class NetworkPrior:
    """A trained network behind the `Denoiser` protocol.

    Args:
        network: a diffusers model, `UNet2DModel` (class-conditional if it embeds classes), or class-conditional
            `DiTTransformer2DModel`.
        scheduler: a diffusers scheduler; only its `alphas_cumprod` and `prediction_type` are used.
        sigma_min, sigma_max: the range it may be asked in; None takes the schedule's whole range.
        precision: "float32" or "bfloat16" (autocast).
        rows: the fixed batch shape of every network call.
        fold: pixels a side that are folded into channels; base: Gaussian prior whose posterior mean is corrected
            (v-prediction only), or None; trust: how much of the correction is taken, None for all of it.
        null_class: the U-Net's class embedding that means "not told", counted as in a list: networks trained here have
            it last; None: there is none, and it has to be asked with a class.
    """

    def __init__(
        self, network, scheduler, sigma_min=None, sigma_max=None, precision="float32", rows=ROWS, fold=1, base=None,
        null_class: int | None = -1, trust: Trust | None = None,
    ):  # fmt: skip
        self.network = network.eval().requires_grad_(False)
        self.prediction_type = scheduler.config.prediction_type
        self.table = SigmaTable(scheduler.alphas_cumprod)
        self.sigma_min = sigma_min or self.table.sigma_min
        self.sigma_max = sigma_max or self.table.sigma_max
        self.fold, self.base, self.trust = fold, base, trust
        self.gaussian = base  # of the same images; few-step solvers take from it what needs no call
        self.shape, self.multiple = _shape(network, fold, base), 1
        if isinstance(self.shape, AnySize):  # each level of the U-Net halves what it is given
            self.multiple = fold * 2 ** (len(network.config.block_out_channels) - 1)
        if isinstance(network, diffusers.DiTTransformer2DModel):
            self.num_classes = self.null_class = network.config.num_embeds_ada_norm
        else:
            count = network.config.num_class_embeds or 0
            self.null_class = null_class % count if count and null_class is not None else None
            self.num_classes = count - (self.null_class is not None)
        self.precision, self.rows, self.calls = precision, rows, 0
        self.device = next(network.parameters()).device
        self.few_step: dict[int, few_step.Plan] = {}

    def compile(self) -> None:
        """torch.compile with the weights frozen in. On two cores it saves a third of a call and takes up to a minute to
        set up (`snakemake benchmarks`), so it pays from some 50,000 calls on an image.
        """
        import torch._inductor.config as inductor

        inductor.freezing = True
        self.network = torch.compile(self.network)

    def __call__(self, scaled: torch.Tensor, t: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        """The bare network: scaled = sqrt(abar_t) x, t (B,), labels or None; extra output channels are dropped."""
        kwargs = {}
        if self.num_classes or self.null_class is not None:
            kwargs["class_labels"] = self._embedded(len(scaled), labels, scaled.device)
        height, width = scaled.shape[2:]
        edge = (0, -width % self.multiple, 0, -height % self.multiple)
        padded = torch.nn.functional.pad(scaled, edge, mode="reflect") if any(edge) else scaled
        with torch.autocast(scaled.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            folded = torch.nn.functional.pixel_unshuffle(padded, self.fold)
            output = self.network(folded, t, return_dict=False, **kwargs)[0]
        unfolded = torch.nn.functional.pixel_shuffle(output.float(), self.fold)
        return unfolded[:, : scaled.shape[1], :height, :width]

    def _embedded(self, count: int, labels: torch.Tensor | None, device) -> torch.Tensor:
        """The class embeddings of labels; those of None, and of label `num_classes`, mean "not told"."""
        if self.null_class is None and labels is None:
            raise VpauditError(
                f'the prior knows {self.num_classes} classes, and none that means "not told"',
                "attack with a class, or name the embedding that means it as null_class in the prior's card.json",
            )
        if labels is None:
            return torch.full((count,), self.null_class, device=device)
        if self.null_class is None:
            return labels
        return torch.where(labels == self.num_classes, self.null_class, labels + (labels >= self.null_class))

    def anchor(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """What a v-prediction corrects: the posterior mean under `base`, or under N(0, 1) for every pixel."""
        return x / per_image(1 + sigma**2) if self.base is None else self.base.denoise(x, sigma)

    @torch.inference_mode()
    def denoise(self, x, sigma, labels=None):
        """See `base.Denoiser`; works through x in padded batches of `rows`, on the network's device."""
        out = torch.empty_like(x, device=self.device)
        home, sigma = x.device, sigma.to(self.device)
        x, labels = x.to(self.device), labels if labels is None else labels.to(self.device)
        rows = self.rows_of(x)
        for start in range(0, len(x), rows):
            part = slice(start, min(start + rows, len(x)))
            out[part] = self.denoise_rows(x[part], sigma[part], None if labels is None else labels[part])
        return out.to(home)

    def rows_of(self, x: torch.Tensor) -> int:
        """Images in a call: `rows`, and at any size as many as have the pixels of `rows` images of 64 x 64, at most."""
        fewer = self.rows * 64**2 // x[0, 0].numel()
        return max(1, min(self.rows, fewer)) if isinstance(self.shape, AnySize) else self.rows

    def denoise_rows(self, x, sigma, labels=None):
        """The same in one call of all x, filled up to `rows`, with gradients; on the network's device."""
        count, missing = len(x), self.rows_of(x) - len(x)
        if missing > 0:
            x = torch.cat([x, x[:1].expand(missing, *x.shape[1:])])
            sigma = torch.cat([sigma, sigma[:1].expand(missing)])
            labels = None if labels is None else torch.cat([labels, labels[:1].expand(missing)])
        a = per_image((1 + sigma**2).rsqrt())
        b = a * per_image(sigma)
        scaled = a * x
        output = self(scaled, self.table.t_of_sigma(sigma), labels)
        self.calls += count
        if self.trust is not None:
            output = per_image(self.trust.at(sigma)) * output
        if self.prediction_type == "v_prediction":
            x0 = self.anchor(x, sigma) - b * output
        elif self.prediction_type == "epsilon":
            x0 = x - per_image(sigma) * output
        else:
            x0 = output
        return x0[:count]


def _shape(network, fold: int, base) -> Shape:
    """As the network's configuration says, unless it corrects a Gaussian that takes any size."""
    if base is not None and isinstance(base.shape, AnySize):
        return base.shape
    size = network.config.sample_size
    height, width = (size, size) if isinstance(size, int) else size
    return (network.config.in_channels // fold**2, height * fold, width * fold)


def load(path: str | Path, device: str = "cpu", precision: str = "float32", rows: int = ROWS) -> NetworkPrior:
    """Read a prior from a diffusers folder, as far as `folder` understands it.

    Args:
        precision: "float32", "bfloat16", or "auto": bfloat16 on a CPU that computes in it, float32 elsewhere.
        rows: the fixed batch shape of every network call.

    Raises:
        VpauditError: see `folder.read`; or the weights are missing, altered, not the network's, or not finite.
    """
    about = folder.read(path)
    scheduler, network = folder.load_scheduler(about), folder.load_network(about)
    low, high = noise_range(about.card, scheduler.alphas_cumprod)
    if precision == "auto":
        precision = "bfloat16" if device == "cpu" and machine.cpu_has_bfloat16() else "float32"
    base = gaussian.load(about.folder / "gaussian").to(device) if (about.folder / "gaussian").exists() else None
    fold, trust = about.card.get("fold", 1), Trust(*about.card["trust"]) if "trust" in about.card else None
    prior = NetworkPrior(network.to(device), scheduler, low, high, precision, rows, fold, base, about.null_class, trust)
    prior.few_step = few_step.load(about.folder)
    return prior
