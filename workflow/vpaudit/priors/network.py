"""Diffusion networks in diffusers' folder layout as a `Denoiser`.

A folder holds `unet/` or `transformer/` (config.json, diffusion_pytorch_model.safetensors), `scheduler/` and,
for priors of this repository, `card.json`. With abar = 1 / (1 + sigma^2), a = sqrt(abar), b = sqrt(1 - abar), the
network sees a x and its output f means (Salimans & Ho 2202.00512, eq. 4 and appendix D):
epsilon: x0 = x - sigma f;  v_prediction: x0 = a (a x) - b f;  sample: x0 = f.

Two things diffusers' layout does not know. `fold` in the card: the network sees an image of side H as one of side H /
fold with fold^2 times the channels. A folder `gaussian/`: a v-prediction corrects the posterior mean a^2 x of pixels
that are N(0, 1); here it corrects that Gaussian prior's posterior mean W, x0 = W(x) - b f, and the network learns
only what a Gaussian does not know.
"""

import json
from pathlib import Path

import diffusers
import torch

from vpaudit.base import files, machine
from vpaudit.base.errors import VpauditError
from vpaudit.base.pixels import per_image
from vpaudit.priors import gaussian
from vpaudit.priors.schedule import SigmaTable
from vpaudit.sampling import few_step

# Every call to the network has exactly this many rows (the last ones padded): matrix kernels may round differently for
# another batch shape, and an image's result must not depend on how many images stand beside it (design invariant 1).
ROWS = 64

NETWORKS = {"transformer": "DiTTransformer2DModel", "unet": "UNet2DModel"}


class NetworkPrior:
    """A trained network behind the `Denoiser` protocol.

    Args:
        network: a diffusers model, `UNet2DModel` (class-conditional if it embeds classes, the last of them "none"), or
            class-conditional `DiTTransformer2DModel`.
        scheduler: a diffusers scheduler; only its `alphas_cumprod` and `prediction_type` are used.
        sigma_min, sigma_max: the range it was trained on; None takes the schedule's whole range.
        precision: "float32" or "bfloat16" (autocast).
        rows: the fixed batch shape of every network call.
        fold: pixels a side that are folded into channels; base: Gaussian prior whose posterior mean is corrected
            (v-prediction only), or None.
    """

    def __init__(
        self, network, scheduler, sigma_min=None, sigma_max=None, precision="float32", rows=ROWS, fold=1, base=None
    ):
        self.network = network.eval().requires_grad_(False)
        self.prediction_type = scheduler.config.prediction_type
        if self.prediction_type not in ("epsilon", "v_prediction", "sample"):
            raise VpauditError(
                f"prior predicts {self.prediction_type!r}",
                "use epsilon, v_prediction or sample in the scheduler",
            )
        self.table = SigmaTable(scheduler.alphas_cumprod)
        self.sigma_min = sigma_min or self.table.sigma_min
        self.sigma_max = sigma_max or self.table.sigma_max
        size = network.config.sample_size
        height, width = (size, size) if isinstance(size, int) else size
        self.fold, self.base = fold, base
        self.gaussian = base  # of the same images; few-step solvers take from it what needs no call
        self.shape = (network.config.in_channels // fold**2, height * fold, width * fold)
        if isinstance(network, diffusers.DiTTransformer2DModel):
            self.num_classes = network.config.num_embeds_ada_norm
        else:
            self.num_classes = max(0, (network.config.num_class_embeds or 0) - 1)
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
        if self.num_classes:
            null = torch.full((len(scaled),), self.num_classes, device=scaled.device)
            kwargs["class_labels"] = null if labels is None else labels
        with torch.autocast(scaled.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            folded = torch.nn.functional.pixel_unshuffle(scaled, self.fold)
            output = self.network(folded, t, return_dict=False, **kwargs)[0]
        return torch.nn.functional.pixel_shuffle(output.float(), self.fold)[:, : self.shape[0]]

    def anchor(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """What a v-prediction corrects: the posterior mean under `base`, or under N(0, 1) for every pixel."""
        return x / per_image(1 + sigma**2) if self.base is None else self.base.denoise(x, sigma)

    @torch.inference_mode()
    def denoise(self, x, sigma, labels=None):
        """See `base.Denoiser`; works through x in padded batches of `rows`, on the network's device."""
        out = torch.empty_like(x, device=self.device)
        home, sigma = x.device, sigma.to(self.device)
        x, labels = x.to(self.device), labels if labels is None else labels.to(self.device)
        for start in range(0, len(x), self.rows):
            part = slice(start, min(start + self.rows, len(x)))
            out[part] = self.denoise_rows(x[part], sigma[part], None if labels is None else labels[part])
        return out.to(home)

    def denoise_rows(self, x, sigma, labels=None):
        """The same in one call of all x, filled up to `rows`, with gradients; on the network's device."""
        count, missing = len(x), self.rows - len(x)
        if missing > 0:
            x = torch.cat([x, x[:1].expand(missing, *x.shape[1:])])
            sigma = torch.cat([sigma, sigma[:1].expand(missing)])
            labels = None if labels is None else torch.cat([labels, labels[:1].expand(missing)])
        a = per_image((1 + sigma**2).rsqrt())
        b = a * per_image(sigma)
        scaled = a * x
        output = self(scaled, self.table.t_of_sigma(sigma), labels)
        self.calls += count
        if self.prediction_type == "v_prediction":
            x0 = self.anchor(x, sigma) - b * output
        elif self.prediction_type == "epsilon":
            x0 = x - per_image(sigma) * output
        else:
            x0 = output
        return x0[:count]


def load(folder: str | Path, device: str = "cpu", precision: str = "float32", rows: int = ROWS) -> NetworkPrior:
    """Read a prior from a diffusers folder.

    Args:
        precision: "float32", "bfloat16", or "auto": bfloat16 on a CPU that computes in it, float32 elsewhere.
        rows: the fixed batch shape of every network call.

    Raises:
        VpauditError: the folder, its network or its weights are missing, or a weight is not finite.
    """
    folder = Path(folder)
    part = next((name for name in NETWORKS if (folder / name / "config.json").exists()), None)
    if part is None:
        raise VpauditError(
            f"no prior in {folder}: neither transformer/config.json nor unet/config.json is there",
            "name a diffusers folder, or run the rule that fetches or trains the prior",
        )
    card = json.loads((folder / "card.json").read_text()) if (folder / "card.json").exists() else {}
    weights = folder / part / "diffusion_pytorch_model.safetensors"
    if "sha256" in card and weights.exists() and files.sha256(weights) != card["sha256"]:
        raise VpauditError(
            f"{weights} has sha256 {files.sha256(weights)}, its card says {card['sha256']}: truncated or altered",
            "restore it with `git checkout resources/priors` or `dvc pull`, or train it again",
        )
    network_class = json.loads((folder / part / "config.json").read_text()).get("_class_name", NETWORKS[part])
    try:
        network = getattr(diffusers, network_class).from_pretrained(folder / part, use_safetensors=True)
        scheduler = diffusers.DDPMScheduler.from_pretrained(folder / "scheduler")
    except (OSError, ValueError, AttributeError) as error:
        raise VpauditError(
            f"the prior in {folder} cannot be read: {str(error).splitlines()[0]}",
            "restore it with `git checkout resources/priors` or `dvc pull`, or train it again",
        ) from error
    network = network.float()
    bad = [name for name, weight in network.state_dict().items() if not torch.isfinite(weight).all()]
    if bad:
        raise VpauditError(
            f"the prior in {folder} holds NaN or infinite weights in {bad[0]} (and {len(bad) - 1} more tensors)",
            "restore it with `git checkout resources/priors` or `dvc pull`, or train it again",
        )
    low, high = card.get("sigma_range", (None, None))
    if precision == "auto":
        precision = "bfloat16" if device == "cpu" and machine.cpu_has_bfloat16() else "float32"
    base = gaussian.load(folder / "gaussian").to(device) if (folder / "gaussian").exists() else None
    prior = NetworkPrior(network.to(device), scheduler, low, high, precision, rows, card.get("fold", 1), base)
    prior.few_step = few_step.load(folder)
    return prior
