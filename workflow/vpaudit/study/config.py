"""The study's configuration: one model, from which the schema, the documented defaults and the checks come.

The defaults are the embedded study. `resolve` merges a user's overlay over them, refuses unknown keys by the nearest
valid name, and gives the configuration that is saved beside the results. Nothing here imports torch.
"""

import difflib
import json
from pathlib import Path
from typing import Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from vpaudit.base import files
from vpaudit.base.errors import VpauditError

Model = TypeVar("Model", bound="Section")
Metric = Literal["mse", "psnr", "ssim", "ncc", "lpips_vgg_64", "lpips_vgg"]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Data(Section):
    """Which images are attacked."""

    name: str = Field("fashion_mnist", description="data set card (workflow/vpaudit/data/cards.yaml)")
    folder: str | None = Field(
        None, description="attack the images of this folder, zip, tar or npz instead of a card's"
    )
    size: int | None = Field(None, ge=4, description="resize those to this side: centred square crop, Lanczos")
    grey: bool = Field(False, description="convert those to one channel")
    colour: bool = Field(False, description="convert those to three channels")
    under: str = Field("", description="only images in this folder inside it, e.g. test")
    train: str | None = Field(
        None, description="folder or archive of training images, for the Gaussian prior of a study of a folder"
    )
    train_under: str = Field("", description="only images in this folder inside that")
    images: int = Field(128, ge=2, description="number of test images, a random subset keyed by the seed")

    @model_validator(mode="after")
    def _one_of_both(self):
        if self.grey and self.colour:
            raise ValueError("grey and colour exclude each other: leave one of them out")
        return self


class Mechanism(Section):
    """The Gaussian release of one clipped image: y = lambda x + sigma z."""

    mu: list[float] = Field(
        [0.2, 0.5, 1, 2, 5, 10, 20, 50, 100], description="signal-to-noise ratios mu = C / sigma, each > 0"
    )
    max_grad_norm: float = Field(1.0, gt=0, description="clipping norm C; below every image's norm, all are clipped")
    release: Literal["analytic", "opacus"] = Field(
        "analytic", description="closed form, or read out of a gradient that Opacus clipped and noised"
    )
    delta: float = Field(1e-5, gt=0, lt=1, description="delta at which epsilon is printed beside mu")

    @field_validator("mu")
    @classmethod
    def _positive(cls, values):
        if not values:
            raise ValueError("needs at least one value")
        bad = [v for v in values if not v > 0]
        if bad:
            raise ValueError(f"must be > 0, got {bad[0]:g}")
        if len(set(values)) != len(values):
            raise ValueError("holds a value twice")
        return sorted(float(v) for v in values)


class Training(Section):
    """How a prior is trained (`snakemake train_prior`); nothing of it touches the shipped weights."""

    images_seen: int = Field(1_900_000, gt=0, description="training examples with repetition")
    minutes: float | None = Field(None, gt=0, description="of training, instead of images_seen")
    batch_size: int = Field(256, gt=0, description="images a step")
    lr: float = Field(1e-3, gt=0, description="peak learning rate")
    optimizer: Literal["muon", "adamw"] = Field("muon", description="for the blocks' matrices; AdamW for the rest")
    warmup_steps: int = Field(150, ge=0, description="linear warm-up")
    ema_decay: float = Field(0.998, ge=0, lt=1, description="exponential moving average of the weights")
    label_dropout: float = Field(0.3, ge=0, le=1, description="share trained without label")
    horizontal_flip: bool = Field(False, description="mirror every image half of the time (photographs, not digits)")
    sigma_range: tuple[float, float] = Field((0.02, 150.0), description="noise std on [-1, 1] that the prior covers")
    log_normal_share: float = Field(0.55, ge=0, le=1, description="share of noise levels drawn log-normal around 1")
    log_normal_std: float = Field(1.2, gt=0, description="their spread; the rest is uniform in log sigma")
    architecture: Literal["transformer", "unet"] = Field("transformer", description="DiT, or diffusers' UNet2DModel")
    residual: bool = Field(False, description="learn what is left over the Gaussian prior of the training images")
    width: int = Field(256, gt=0, description="transformer's width, U-Net's channels at the first level")
    layers: int = Field(8, gt=0, description="transformer blocks, residual blocks a level of the U-Net")
    heads: int = Field(4, gt=0, description="attention heads of the transformer")
    levels: int = Field(2, gt=0, description="levels of the U-Net; each halves the side and doubles the channels")
    patch_size: int = Field(4, gt=0, description="pixels a token side, or folded into channels before the U-Net")
    dropout: float = Field(0.0, ge=0, lt=1, description="of the network's inner values")
    weight_decay: float = Field(0.01, ge=0, description="decoupled weight decay")
    precision: Literal["float32", "bfloat16"] = Field("bfloat16", description="autocast precision of the network")
    compile: bool = Field(True, description="torch.compile")
    seed: int = Field(0, description="seed of initialisation, order and noise")
    checkpoint_seconds: float = Field(120.0, gt=0, description="time between checkpoints in work/")

    @property
    def steps(self) -> int:
        return -(-self.images_seen // self.batch_size)


class FewStep(Section):
    """How the prior's few-step solvers are fitted (`vpaudit few-step`), on training images."""

    calls: list[int] = Field([3, 4, 5, 6], description="network evaluations of each solver, >= 1")
    images: int = Field(256, ge=1, description="training images")
    evaluations: int = Field(6, ge=0, description="tries in the search for each noise level, on 64 of them")
    sigma_range: tuple[float, float] = Field((0.15, 150.0), description="starting noises covered")
    levels: int = Field(14, ge=2, description="starting noises fitted, log-spaced")


class Prior(Section):
    """The diffusion prior the adversary holds."""

    path: str = Field(
        "resources/priors/fashion_mnist_dit",
        description="diffusers folder; results/<study>/prior trains one with the settings below",
    )
    gaussian: str = Field("resources/priors/fashion_mnist_gaussian", description="folder of the Gaussian prior")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "float32",
        description="of the network in the attack; bfloat16 is faster where the processor computes in it, which auto "
        "looks for, but then tables agree between processors to a per cent instead of 1e-4",
    )
    rows: int = Field(64, ge=1, description="images in every network evaluation, padded to it; bounds memory")
    training: Training = Training()
    few_step: FewStep = FewStep()


class Knowledge(Section):
    """What the adversary knows of lambda and sigma in y = lambda x + sigma z, and how it estimates the rest."""

    sigma: Literal["known", "wavelet", "patches", "blank", "prior"] = Field(
        "known", description="known to the adversary, or the estimator it uses (workflow/vpaudit/attack/knowledge.py)"
    )
    sigma_error: float = Field(0.0, gt=-1, description="relative error of the value it knows")
    lam: Literal["known", "norm", "energy", "prior"] = Field(
        "known", description="known to the adversary, or how it guesses the clipping factor"
    )
    lam_error: float = Field(0.0, gt=-1, description="relative error of the value it knows")

    @model_validator(mode="after")
    def _consistent(self):
        for name in ("sigma", "lam"):
            if getattr(self, f"{name}_error") != 0 and getattr(self, name) != "known":
                raise ValueError(
                    f"{name}_error={getattr(self, f'{name}_error'):g} is the error of a known value, but {name} is "
                    f"estimated ({getattr(self, name)}): leave one of them out"
                )
        return self

    @property
    def label(self) -> str:
        """How the tables show it, e.g. "sigma known, lambda +10 %"."""
        parts = []
        for name, kind, error in (
            ("sigma", self.sigma, self.sigma_error),
            ("lambda", self.lam, self.lam_error),
        ):
            told = f"{name} {100 * error:+g} %" if error else f"{name} known"
            parts.append(told if kind == "known" else f"{name} by {kind}")
        return ", ".join(parts)


class Attack(Section):
    """One attack, run once for every conditioning and sample (draw)."""

    name: str = Field(description="name in the tables")
    kind: Literal["raw", "wiener", "posterior_mean", "given_norm", "ddim", "multistep", "heun", "ddrm", "few_step"] = (
        Field(
            description="what is done (workflow/vpaudit/sampling/samplers.py); ddim with eta=1 is DDPM; given_norm "
            "(workflow/vpaudit/attack/given_norm.py) also uses the norm C / lambda, and public images, if any"
        )
    )
    conditioning: list[Literal["unconditional", "true_class", "wrong_class"]] = Field(
        ["unconditional"], description="which class the network is given"
    )
    steps: int = Field(1, ge=1, description="noise levels of a sample, and network evaluations (heun: 2 steps - 1)")
    eta: float = Field(0.0, ge=0, le=1, description="0 deterministic, 1 ancestral (ddim, multistep, ddrm)")
    order: int = Field(2, ge=1, le=4, description="network evaluations that a step of multistep extrapolates from")
    churn: float = Field(0.0, ge=0, le=0.41, description="relative noise added before a step of heun")
    spacing: Literal["karras", "log", "t"] = Field("karras", description="how the noise levels are spaced")
    draws: int = Field(1, ge=1, description="samples of each image")
    knowledge: Knowledge = Knowledge()

    @property
    def stochastic(self) -> bool:
        """Whether another draw gives another result."""
        return self.eta > 0 or self.churn > 0

    @model_validator(mode="after")
    def _sensible(self):
        takes_eta = self.kind in ("ddim", "multistep", "ddrm")
        if self.eta > 0 and not takes_eta:
            raise ValueError(f"attack {self.name!r}: eta is for kinds ddim, multistep and ddrm, not {self.kind}")
        if self.churn > 0 and self.kind != "heun":
            raise ValueError(f"attack {self.name!r}: churn is for kind heun, not {self.kind}")
        if self.draws > 1 and not self.stochastic:
            raise ValueError(
                f"attack {self.name!r}: several draws need a stochastic sampler (kind ddim, multistep or ddrm with "
                "eta > 0, or heun with churn > 0)"
            )
        if self.kind == "given_norm" and self.knowledge.lam != "known":
            raise ValueError(
                f"attack {self.name!r}: given_norm takes the norm from the lambda that it is told, and here "
                f"lambda is guessed ({self.knowledge.lam}): set knowledge.lam to known, or take kind posterior_mean"
            )
        if self.kind == "given_norm" and self.conditioning != ["unconditional"]:
            raise ValueError(f"attack {self.name!r}: given_norm is told no class: leave conditioning out")
        return self


class Evaluate(Section):
    """What is measured, image by image."""

    metrics: list[Metric] = Field(
        ["mse", "psnr", "ssim", "ncc", "lpips_vgg_64"],
        description="unreduced metrics; lpips_vgg from 64 pixels on, lpips_vgg_64 (enlarged) below",
    )
    unrelated: int = Field(4, ge=1, description="other test images each image is compared with, for the baselines")
    margin: float = Field(
        0.05, gt=0, lt=1, description="share recovered of the distance to other images below which reconstruction ends"
    )


class Success(Section):
    """Success of attacks on releases that do not hold the target, which bounds success on those that do."""

    attacks: list[str] = Field(
        [], description="by name; none named: all of the study that ask the prior once, without raw"
    )
    references: list[Literal["noise", "mean"]] = Field(
        ["noise", "mean"],
        description="what is released in the target's place: noise alone, or the mean image at the target's lambda",
    )
    draws: int = Field(1, ge=1, description="releases of each reference for each image")
    metrics: list[Metric] = Field(
        ["mse", "ssim", "ncc"], description="measured there, of those in evaluate.metrics; LPIPS is costly"
    )
    thresholds: int = Field(12, ge=1, description="distances at which success is compared")


class Bounds(Section):
    """What theory allows."""

    candidates: int = Field(2000, ge=2, description="size n of the ReRo adversary's candidate set; kappa = 1/n")


class Experiments(Section):
    """`snakemake experiments`: beyond the paper's study; except for with_study not part of the default run."""

    mu: list[float] = Field([2, 5, 10, 20, 50, 100], description="signal-to-noise ratios mu = C / sigma, each > 0")
    images: int = Field(64, ge=2, description="the first of the study's images")
    compile: bool = Field(True, description="torch.compile the network, which pays in jobs as long as these")
    with_study: list[str] = Field(
        [], description="experiments that the default target runs too, with claims in summary.json"
    )
    settings: dict[str, dict] = Field({}, description="sections of single experiments, by name: see below")

    @field_validator("mu")
    @classmethod
    def _positive(cls, values):
        return Mechanism._positive(values)


class Figures(Section):
    """How figures look; changes nothing else."""

    style: str = Field("default", description="name in workflow/vpaudit/report/figures/style.py, or a YAML file")


class Jobs(Section):
    """How the work is split into jobs and kept; except for `store`, no result depends on it."""

    images_per_job: int | None = Field(
        None, ge=1, description="images of a privatize, reconstruct or evaluate job, at one mu; null: all in one"
    )
    store: Literal["float32", "uint8"] = Field(
        "float32", description="reconstructions on disk; uint8 rounds to 1/255 of the range (MSE 5e-6) at a quarter"
    )
    keep_checkpoints: bool = Field(
        True, description="after a job, in work/: another attack then computes only itself; false halves the disk"
    )


class Rounds(Section):
    """The training, for an adversary who sees all its rounds and not which of them hold the image (`vpaudit audit`)."""

    noise_multiplier: list[float] = Field([], description="sigma / C of a round, a training each; none: not run")
    sample_rate: float = Field(1.0, gt=0, le=1, description="of Poisson sampling")
    steps: int = Field(2, ge=2, description="rounds")


class Recognition(Section):
    """What is still recognised in reconstructions, and what of them may be called real (`vpaudit audit`)."""

    mu: list[float] = Field([], description="of mechanism.mu, those at which it is asked; and after rounds, if any")
    public: str | None = Field(
        None, description="npz of public images of the targets' kind, on which pixels called real are calibrated"
    )
    calibration: int = Field(100, ge=20, description="of them, at most")
    candidates: str | None = Field(
        None, description="npz of the images among which a reconstruction is to pick its target"
    )


class Report(Section):
    """What the page results/<study>/report.html shows."""

    redact: bool = Field(
        False, description="metrics instead of every image: targets, observations and reconstructions stay out"
    )


class Config(Section):
    """A whole study."""

    study: str = Field(
        "embedded", pattern=r"^[A-Za-z0-9_-]+$", description="name of the folders under results/, figures/"
    )
    seed: int = Field(2403_07588, ge=0, description="study seed; every random draw is keyed by it")
    data: Data = Data()
    mechanism: Mechanism = Mechanism()
    prior: Prior = Prior()
    attacks: list[Attack] = Field(
        [
            Attack(name="raw", kind="raw"),
            Attack(name="wiener", kind="wiener"),
            Attack(
                name="posterior_mean",
                kind="posterior_mean",
                conditioning=["unconditional", "true_class", "wrong_class"],
            ),
            Attack(name="ddim", kind="ddim", steps=10),
            Attack(name="ddpm", kind="multistep", steps=12, eta=1.0, draws=4),
            Attack(name="given_norm", kind="given_norm"),
            Attack(name="posterior_mean_untold", kind="posterior_mean", knowledge=Knowledge(lam="norm")),
            Attack(name="ddim_untold", kind="ddim", steps=10, knowledge=Knowledge(lam="norm")),
        ],
        description="what the adversary tries",
    )
    evaluate: Evaluate = Evaluate()
    success: Success = Success()
    bounds: Bounds = Bounds()
    rounds: Rounds = Rounds()
    recognition: Recognition = Recognition()
    experiments: Experiments = Experiments()
    figures: Figures = Figures()
    jobs: Jobs = Jobs()
    report: Report = Report()
    shard_size: int = Field(64, ge=1, description="images a checkpoint in work/; results do not depend on it")

    @model_validator(mode="after")
    def _unique(self):
        names = [attack.name for attack in self.attacks]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"attacks: the name {twice[0]!r} is used twice")
        for name in self.success.attacks:
            if name not in names:
                near = difflib.get_close_matches(name, names, cutoff=0.5) or names
                raise ValueError(f"success.attacks: the study runs no attack {name!r}; nearest: {', '.join(near)}")
        return self

    @property
    def results(self) -> Path:
        return Path("results") / self.study

    @property
    def mu_names(self) -> list[str]:
        """The mu grid as file names show it."""
        return [f"{mu:g}" for mu in self.mechanism.mu]

    @property
    def public_images(self) -> bool:
        """Whether an attack uses images of the targets' kind that the adversary knows: a card's, or `data.train`."""
        return any(a.kind == "given_norm" for a in self.attacks) and bool(not self.data.folder or self.data.train)

    @property
    def compared(self) -> list[Attack]:
        """The attacks that also run on releases without the target."""
        plain = [a.name for a in self.attacks if a.kind != "raw" and a.steps == 1]
        return [a for a in self.attacks if a.name in (self.success.attacks or plain)]

    @property
    def success_metrics(self) -> list[str]:
        """What is measured there."""
        return [name for name in self.success.metrics if name in self.evaluate.metrics]

    @property
    def lpips(self) -> str | None:
        """The LPIPS variant that the study measures, if any."""
        return next((name for name in self.evaluate.metrics if name.startswith("lpips")), None)

    @property
    def dataset(self) -> str:
        return Path(self.data.folder).name.split(".")[0] if self.data.folder else self.data.name


def resolve(overlay: dict, source: str = "config") -> Config:
    """Defaults with `overlay` on top, checked.

    Raises:
        VpauditError: an unknown key (with the nearest valid one), or a value out of range; all problems at once.
    """
    return checked(Config, overlay, f"{source} is not a valid study")


def checked(model: type[Model], content: dict, refusal: str) -> Model:
    """`content` as a section.

    Raises:
        VpauditError: `refusal`, and all problems by place.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problems = [_problem(item, model) for item in error.errors()]
        raise VpauditError(
            f"{refusal}:\n" + "\n".join(f"  - {p}" for p in problems),
            "config/README.md lists every key with its range and default",
        ) from None


def load(*paths: str | Path) -> Config:
    """Read and check YAML files, each laid over those before, as `snakemake --configfile A B` does."""
    content: dict = {}
    for path in paths:
        content = _laid_over(content, _read(path))
    return resolve(content, " + ".join(map(str, paths)) or "the default")


def _laid_over(below: dict, above: dict) -> dict:
    """Dictionaries are merged, everything else is replaced."""
    both = {k: _laid_over(below[k], v) if isinstance(v, dict) and isinstance(below.get(k), dict) else v
            for k, v in above.items()}  # fmt: skip
    return {**below, **both}


def _read(path: str | Path) -> dict:
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    except FileNotFoundError as error:
        raise VpauditError(f"no configuration at {path}", "name an existing YAML file") from error
    except UnicodeDecodeError as error:
        raise VpauditError(f"{path} is not UTF-8 text: {error}", "save it as UTF-8") from error
    except OSError as error:
        raise VpauditError(f"{path} cannot be read: {error.strerror}", "name a YAML file") from error
    except yaml.YAMLError as error:
        raise VpauditError(f"{path} is not valid YAML: {error}", "correct the line named above") from error
    if not isinstance(content, dict):
        raise VpauditError(f"{path} must hold keys and values, not {type(content).__name__}", "see config/config.yaml")
    return content


def dump(config: Config) -> str:
    """The resolved configuration as YAML."""
    return yaml.safe_dump(json.loads(config.model_dump_json()), sort_keys=False, allow_unicode=True, width=120)


def save(config: Config, path: str | Path) -> None:
    """Write the resolved configuration; an unchanged file keeps its time stamp."""
    text, path = dump(config), Path(path)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        with files.atomic(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


def _problem(item: dict, model: type[Section]) -> str:
    place = ".".join(str(part) for part in item["loc"])
    if item["type"] != "extra_forbidden":
        return f"{place or 'the study'}: {item['msg'].removeprefix('Value error, ')} (got {_short(item['input'])})"
    section = _section_at(item["loc"][:-1], model)
    known = list(section.model_fields)
    near = difflib.get_close_matches(str(item["loc"][-1]), known, n=1, cutoff=0.5)
    return f"unknown key {place!r}; " + (f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}")


def _short(value) -> str:
    text = repr(value)
    return text if len(text) < 60 else text[:57] + "..."


def _section_at(location: tuple, section: type[Section]) -> type[BaseModel]:
    for part in location:
        if isinstance(part, int):
            section = Attack
        else:
            annotation = section.model_fields[part].annotation
            section = annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else section
    return section
