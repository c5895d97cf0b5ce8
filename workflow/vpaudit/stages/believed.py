"""Which pixels of the best guess an adversary may call real, as it would find out on public images of the same kind."""

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from vpaudit.base import files, pixels
from vpaudit.measure import believed as measure
from vpaudit.measure import prior_mismatch
from vpaudit.privacy.mechanism import Mechanism, release_analytic
from vpaudit.stages.adversary import Priors
from vpaudit.stages.inputs import opened, read_targets
from vpaudit.stages.participation import attacked
from vpaudit.stages.reconstruct import Job, in_shards, shard
from vpaudit.study import depends
from vpaudit.study.checkpoints import Journal
from vpaudit.study.config import Attack, Config, Knowledge
from vpaudit.study.layout import Layout

GUESS = "posterior_mean"
PUBLIC_IDS = 2**20  # from here on: no noise of a public image is that of a target
NOTHING = pd.DataFrame({name: [] for name in ("part", "images", "image", "metric", "value")})
Images = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # x, labels, ids, as of `read_targets`


def believed(config: Config, layout: Layout, device: str = "auto") -> None:
    """targets.npz, public images, reconstructions, priors -> believed.parquet.

    Columns part (`Layout.seen`), images ("audited" or "public"), image, metric, value. Metrics: `limit` on the
    spread of samples, of a public image that of all others; of an image's pixels the share `called` real, of these the
    share `wrong`; the same off the background, `content_called` and `content_wrong`, of all pixels; and (part "")
    `hardness`, the mean over noise levels of the log of the error with which the prior denoises it. Nothing without
    public images, or where no attack draws several samples.
    """
    tables, drawn = [NOTHING], several(config)
    if config.recognition.public and drawn:
        priors, public, audited = Priors(config, layout, device), _public(config), read_targets(layout)
        inputs = [*priors.files(), config.recognition.public]
        journal = Journal(layout.work / "believed", depends.code("believed"), inputs)
        for name, images in (("audited", audited), ("public", public)):
            tables.append(_rows("", name, {"hardness": hardness(config, priors, *images)}))
        for part, path in tqdm(layout.seen(config).items(), desc="calibration", disable=None, ascii=True, ncols=79):
            own = made_of_public(config, priors, part, public, drawn, journal)
            with opened(path) as file:
                made = [pixels.unpacked(file[f"unconditional.{name}"]) for name in (GUESS, drawn.name)]
            tables += _judged(part, Judged(own[0], own[1:], public[0]), Judged(made[0][0], made[1], audited[0]))
    files.write_table(layout.table("believed"), pd.concat(tables, ignore_index=True))


def several(config: Config) -> Attack | None:
    """The attack whose samples tell what is agreed on, if the best guess is there too."""
    drawn = (a for a in config.attacks if a.draws > 1 and a.knowledge == Knowledge())
    return next(drawn, None) if any(a.name == GUESS for a in config.attacks) else None


def _public(config: Config) -> Images:
    with opened(config.recognition.public) as file:
        x = pixels.from_uint8(file["images"][: config.recognition.calibration])
    return x, torch.full((len(x),), -1), torch.arange(PUBLIC_IDS, PUBLIC_IDS + len(x))


def hardness(config: Config, priors: Priors, x: torch.Tensor, labels: torch.Tensor, ids: torch.Tensor) -> np.ndarray:
    """(n,): how hard images are for the prior."""
    errors = prior_mismatch.errors(priors.network, x, [(config.seed, i) for i in ids.tolist()])
    return np.mean([np.log(value) for value in errors.values()], axis=0)


def made_of_public(
    config: Config, priors: Priors, part: str, images: Images, drawn: Attack, journal: Journal
) -> np.ndarray:
    """(1 + draws, n, C, H, W): best guess and samples of public images, released and attacked as the targets were."""
    guess = next(a for a in config.attacks if a.name == GUESS)
    x, labels, ids = images

    def run() -> np.ndarray:
        kind, value = part.split("=")
        if kind == "noise":
            some = config.model_copy(update={"attacks": [guess, drawn]})
            made = attacked(some, priors, float(value), *images)[1]
            return np.concatenate([made[f"unconditional.{a.name}"] for a in some.attacks])
        rule = Mechanism(float(value), config.mechanism.max_grad_norm)
        seen = release_analytic(x, ids, labels, rule, config.dataset, config.seed)
        return np.stack([
            np.concatenate([shard(config, priors, Job(a, "unconditional", draw, o)) for o in in_shards(config, seen)])
            for a, draw in [(guess, 0), *((drawn, k) for k in range(drawn.draws))]
        ])  # fmt: skip

    settings = [[a.model_dump(mode="json") for a in (guess, drawn)], config.rounds.model_dump(), config.prior.precision]
    key = [part, config.seed, config.mechanism.max_grad_norm, len(x), config.jobs.store, config.dataset, *settings]
    return pixels.unpacked(journal(key, run))


class Judged:
    """Best guesses (n, C, H, W) with samples (K, n, C, H, W) of images x whose truth is known here."""

    def __init__(self, guess: np.ndarray, draws: np.ndarray, x: torch.Tensor):
        self.spread, self.error = measure.spread(guess, draws), measure.error(guess, x.numpy())
        self.content = measure.content(guess).any(axis=1)

    def shares(self, limits: np.ndarray) -> dict[str, np.ndarray]:
        """Each (n,), of pixels called at limits (n,)."""
        called = (self.spread <= limits[:, None, None]) & (limits[:, None, None] > 0)
        wrong = called & (self.error > measure.TOLERANCE)
        pixels_of = {"called": called, "content_called": called & self.content, "content_wrong": wrong & self.content}
        found = {name: mask.mean(axis=(1, 2)) for name, mask in pixels_of.items()}
        of_called = wrong.sum(axis=(1, 2)) / np.maximum(called.sum(axis=(1, 2)), 1)
        return {"limit": limits, "wrong": of_called, **found}


def _judged(part: str, public: Judged, audited: Judged) -> list[pd.DataFrame]:
    """Each public image by the limit that all others give, each audited one by that of all of them."""
    worst = measure.worst_shares(public.spread, public.error)
    limits = np.full(len(audited.spread), measure.trusted_spread(worst))
    return [
        _rows(part, "audited", audited.shares(limits)),
        _rows(part, "public", public.shares(measure.trusted_by_others(worst))),
    ]


def _rows(part: str, images: str, values: dict[str, np.ndarray]) -> pd.DataFrame:
    tables = [pd.DataFrame({"image": range(len(v)), "metric": name, "value": v}) for name, v in values.items()]
    return pd.concat(tables).assign(part=part, images=images)[list(NOTHING)]
