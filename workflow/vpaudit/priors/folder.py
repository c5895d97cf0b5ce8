"""Folders as diffusers and its users write them: where network, scheduler and weights are, and what they mean.

Understood are a `UNet2DModel` or a class-conditional `DiTTransformer2DModel` over the pixels of square images, at the
timesteps of a DDPM, that predict epsilon, v or x0. All else is refused by the name it has in the folder: a wrong guess
would not fail, it would look like an attack that sees little.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from vpaudit.base import files
from vpaudit.base.denoiser import AnySize, Shape, shape_from_card
from vpaudit.base.errors import VpauditError

NETWORKS = {"transformer": "DiTTransformer2DModel", "unet": "UNet2DModel"}
# Schedulers that differ in how they sample and agree in alphas_cumprod, which is all that is taken from them.
SCHEDULERS = (
    "DDPMScheduler", "DDIMScheduler", "DDPMParallelScheduler", "DDIMParallelScheduler", "DDIMInverseScheduler",
    "PNDMScheduler", "LMSDiscreteScheduler", "EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler",
    "HeunDiscreteScheduler", "KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler", "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler", "DEISMultistepScheduler", "UniPCMultistepScheduler",
)  # fmt: skip
PREDICTIONS = ("epsilon", "v_prediction", "sample")
# Settings, and the values of them that are understood.
SCHEDULER_SETTINGS = {"use_flow_sigmas": (False,), "timestep_type": ("discrete",), "prediction_type": PREDICTIONS}
NETWORK_SETTINGS = {"class_embed_type": (), "time_embedding_type": ("positional",), "addition_embed_type": ()}
WEIGHTS = re.compile(r"diffusion_pytorch_model(\.(?P<variant>\w+))?(-\d+-of-\d+)?\.(safetensors|bin)")
RESTORE = "fetch or train it again; one that came with this repository: `git checkout resources/priors` or `dvc pull`"


@dataclass(frozen=True)
class About:
    """What a prior's folder says of itself.

    Attributes:
        part: the folder of the network's config.json and weights; config: that file; scheduler: the scheduler's; card:
            card.json, empty if there is none.
        shape: (C, H, W) of the images, or `AnySize`; null_class: the class embedding that means "not told", None if
            none does.
    """

    folder: Path
    part: Path
    config: dict
    scheduler: dict
    card: dict
    shape: Shape
    null_class: int | None

    @property
    def unconditional(self) -> bool:
        """Whether it can be asked without a class."""
        return not self.config.get("num_class_embeds") or self.null_class is not None


def read(folder: str | Path) -> About:
    """What is in a folder, held against what is understood; weights are not read.

    Args:
        folder: with unet/ or transformer/ and scheduler/, or with both configurations in its root.

    Raises:
        VpauditError: nothing is there, a file is no JSON, or something that is not understood, by name.
    """
    folder = Path(folder)
    part, scheduler = part_of(folder), _scheduler_file(folder)
    if part is None or scheduler is None:
        missing = "scheduler_config.json, nor scheduler/" if part else "config.json, nor unet/ or transformer/"
        raise VpauditError(
            f"no prior in {folder}: no {missing} that holds it",
            "name a diffusers folder, or run the rule that fetches or trains the prior",
        )
    card = _json(folder / "card.json") if (folder / "card.json").exists() else {}
    config, place = _json(part / "config.json"), f"the prior in {folder}"
    _pipeline(folder)
    _network(config, place)
    return About(
        folder, part, config, _scheduler(_json(scheduler), place), card,
        _shape(config, card, place), _null_class(config, card, place),
    )  # fmt: skip


def holds_prior(folder: Path) -> bool:
    """Whether network and scheduler are there; what they are is for `read`."""
    return part_of(folder) is not None and _scheduler_file(folder) is not None


def weight_files(part: Path) -> tuple[str | None, list[Path]]:
    """Variant ("fp16"; None is the plain one) and files of a network's weights; safetensors before .bin.

    Raises:
        VpauditError: there are none; what is there instead is named.
    """
    found: dict[str | None, list[Path]] = {}
    for path in sorted(part.iterdir()):
        if match := WEIGHTS.fullmatch(path.name):
            found.setdefault(match["variant"], []).append(path)
    if not found:
        names = ", ".join(sorted(path.name for path in part.iterdir()))
        raise VpauditError(f"no weights in {part}, only {names}", "add diffusion_pytorch_model.safetensors (or .bin)")
    variant = min(found, key=lambda name: (name is not None, name == "non_ema", name or ""))
    return variant, [p for p in found[variant] if p.suffix == ".safetensors"] or found[variant]


def load_network(about: About):
    """The diffusers model in float32, every weight of it read and finite."""
    import diffusers
    import torch

    variant, paths = weight_files(about.part)
    if "sha256" in about.card and files.sha256(paths[0]) != about.card["sha256"]:
        raise VpauditError(
            f"{paths[0]} has sha256 {files.sha256(paths[0])}, its card says {about.card['sha256']}: "
            "truncated or altered", RESTORE,
        )  # fmt: skip
    try:
        network, loading = getattr(diffusers, about.config["_class_name"]).from_pretrained(
            about.part, variant=variant, use_safetensors=paths[0].suffix == ".safetensors", output_loading_info=True,
            sample_size=_sample_size(about),
        )  # fmt: skip
    except Exception as error:  # damaged weights make their readers trip over anything
        text = (str(error).splitlines() or [type(error).__name__])[0]
        raise VpauditError(f"the prior in {about.folder} cannot be read: {text}", RESTORE) from error
    wrong = [*loading["missing_keys"], *loading["unexpected_keys"], *loading["mismatched_keys"]]
    if wrong:
        raise VpauditError(
            f"the weights in {about.part} are not those of its config.json: {wrong[0]} and {len(wrong) - 1} more are "
            "missing, too many, or of another shape", RESTORE,
        )  # fmt: skip
    network = network.float()
    bad = [name for name, weight in network.state_dict().items() if not torch.isfinite(weight).all()]
    if bad:
        raise VpauditError(
            f"the prior in {about.folder} holds NaN or infinite weights in {bad[0]} (and {len(bad) - 1} more tensors)",
            RESTORE,
        )
    return network


def _sample_size(about: About) -> int:
    if isinstance(about.shape, AnySize):
        return about.config["sample_size"]
    return about.shape[1] // about.card.get("fold", 1)


def load_scheduler(about: About):
    """The diffusers scheduler, for its alphas_cumprod and prediction_type."""
    import diffusers

    try:
        return getattr(diffusers, about.scheduler["_class_name"]).from_config(about.scheduler)
    except Exception as error:  # every class has its own ways to refuse a setting
        raise VpauditError(
            f"the prior in {about.folder} is not understood: its scheduler's settings: {error}", "correct them"
        ) from error


def part_of(folder: Path) -> Path | None:
    """The folder of the network's config.json and weights."""
    places = [*(folder / name for name in NETWORKS), folder]
    return next((place for place in places if (place / "config.json").exists()), None)


def _scheduler_file(folder: Path) -> Path | None:
    paths = [folder / "scheduler/scheduler_config.json", folder / "scheduler_config.json"]
    return next((path for path in paths if path.exists()), None)


def _json(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise VpauditError(f"{path} cannot be read: {error}", RESTORE) from error
    if not isinstance(content, dict):
        raise VpauditError(f"{path} is not a JSON object", RESTORE)
    return content


def _pipeline(folder: Path) -> None:
    """Refuse a pipeline that holds more than a network and a scheduler, such as one over the latents of a VAE."""
    if not (folder / "model_index.json").exists():
        return
    index = _json(folder / "model_index.json")
    others = [k for k, v in index.items() if isinstance(v, list) and any(v) and k not in (*NETWORKS, "scheduler")]
    if others:
        raise _refused(f"the prior in {folder}", f"{index.get('_class_name')} with {', '.join(others)}", "over pixels")


def _refused(place: str, what: str, understood: str) -> VpauditError:
    return VpauditError(f"{place} is not understood: {what}", f"name a prior {understood}")


def _network(config: dict, place: str) -> None:
    name, channels = config.get("_class_name"), config.get("in_channels")
    if name not in NETWORKS.values():
        raise _refused(place, f"its network is {name}", f"that is one of {', '.join(NETWORKS.values())}")
    if not isinstance(channels, int) or (config.get("out_channels") or channels) < channels:
        raise _refused(place, f"{config.get('out_channels')} channels out of {channels}", "over images")
    _settings(config, NETWORK_SETTINGS, place)


def _settings(config: dict, understood: dict[str, tuple], place: str) -> None:
    for key, values in understood.items():
        if config.get(key) is not None and config[key] not in values:
            known = f"whose {key} is {' or '.join(map(str, values))}" if values else f"without {key}"
            raise _refused(place, f"{key} is {config[key]!r}", known)


def _scheduler(config: dict, place: str) -> dict:
    """The scheduler's configuration; before diffusers 0.9 it said predict_epsilon."""
    name = config.get("_class_name")
    if name not in SCHEDULERS:
        raise _refused(
            place, f"its scheduler is {name}", "with the timesteps of a DDPM: DDPMScheduler, DDIMScheduler …"
        )
    config = dict(config)
    old = config.pop("predict_epsilon", None)
    if old is not None:
        means = "epsilon" if old else "sample"
        if config.setdefault("prediction_type", means) != means:
            raise _refused(
                place,
                f"predict_epsilon is {old}, prediction_type {config['prediction_type']!r}",
                "that says one of them",
            )
    _settings(config, SCHEDULER_SETTINGS, place)
    return config


def _shape(config: dict, card: dict, place: str) -> Shape:
    """(C, H, W) of the images: the network's, or where it gives no size the card's; or any size, as the card says."""
    size, fold = config.get("sample_size"), card.get("fold", 1)
    if isinstance(card.get("shape"), dict):
        return shape_from_card(card["shape"])
    if size is None and "shape" not in card:
        hint = 'write {"shape": [channels, height, width]} of its images into card.json'
        raise VpauditError(f"{place} does not give its sample_size", hint)
    sides = size if isinstance(size, list) else [size]
    channels = config["in_channels"] // fold**2
    shape = tuple(card["shape"]) if size is None else (channels, sides[0] * fold, sides[-1] * fold)
    if shape[0] != channels or shape != tuple(card.get("shape", shape)):
        raise VpauditError(
            f"{place} makes images of {shape} from {config['in_channels']} channels, its card says {card['shape']}",
            "correct card.json",
        )
    if shape[0] not in (1, 3) or shape[1] != shape[2]:
        raise _refused(
            place, f"its images are {shape} (channels, height, width)", "over square images, grey or in colour"
        )
    return shape


def _null_class(config: dict, card: dict, place: str) -> int | None:
    """As the card says; a network of this repository has one embedding more than its card's classes, the last."""
    count = config.get("num_class_embeds") or 0
    null = card.get("null_class", count - 1 if count and card.get("num_classes") == count - 1 else None)
    if null is not None and null not in range(count):
        raise VpauditError(f"{place}: null_class {null} is none of its {count} classes", "correct card.json")
    return null
