"""What the study found: the paper's claims, each with the number measured here, its interval and a verdict.

Everything is computed from the tables under results/<study>/; a claim that the study cannot test says so.
"""

import importlib.metadata
from dataclasses import asdict, dataclass, field

import numpy as np
import pandas as pd

from vpaudit import hardware, io, stats
from vpaudit.config import Config
from vpaudit.layout import Layout

LOWER_IS_BETTER = {"mse": True, "lpips_vgg_64": True, "ssim": False, "ncc": False, "psnr": False}
PACKAGES = ("torch", "diffusers", "lpips", "torchmetrics", "opacus", "dp-accounting", "snakemake", "dvc", "vpaudit")
CARD_KEYS = ("data", "parameters", "images_seen", "passes", "steps", "steps_planned", "sha256")
MAIN = "ddim"  # the paper's attack: deterministic DDIM from the matched noise level


@dataclass
class Claim:
    """One claim: value with its 95 % interval over n images, a verdict, and the same by mu where it has a course."""

    id: str
    claim: str
    paper: str
    measured: str
    value: float
    low: float
    high: float
    n: int
    verdict: str
    note: str = ""
    by_mu: list[dict] = field(default_factory=list)


class Tables:
    """The study's tables, read once."""

    def __init__(self, config: Config, layout: Layout):
        self.config, self.mu = config, list(config.mechanism.mu)
        self.metrics, self.baselines, self.bounds, self.consistency = (
            pd.read_parquet(layout.table(name)) for name in ("metrics", "baselines", "bounds", "consistency")
        )
        self.names = [m for m in LOWER_IS_BETTER if m in set(self.metrics["metric"])]

    def grid(self, attack: str, metric: str, prior: str = "unconditional") -> np.ndarray | None:
        """(images, mu): the metric of each image, mean over draws; None if the study did not run it."""
        t = self.metrics
        t = t[(t["attack"] == attack) & (t["metric"] == metric) & (t["prior"] == prior)]
        if t.empty:
            return None
        return t.pivot_table(index="image", columns="mu", values="value")[self.mu].to_numpy()

    def unrelated(self, kind: str, metric: str, attack: str = "", prior: str = "") -> np.ndarray:
        """(images,) for test_vs_test, (images, mu) for reconstruction_vs_other."""
        t = self.baselines[(self.baselines["kind"] == kind) & (self.baselines["metric"] == metric)]
        if kind == "test_vs_test":
            return t.set_index("image")["value"].sort_index().to_numpy()
        t = t[(t["attack"] == attack) & (t["prior"] == prior)]
        return t.pivot_table(index="image", columns="mu", values="value")[self.mu].to_numpy()

    def bound(self, name: str, metric: str) -> np.ndarray:
        """(mu,) value of a bound."""
        t = self.bounds[(self.bounds["bound"] == name) & (self.bounds["metric"] == metric)]
        return t.set_index("mu")["value"].loc[self.mu].to_numpy()


def build(config: Config, layout: Layout) -> dict:
    """The content of summary.json."""
    tables = Tables(config, layout)
    makers = (
        beats_uninformed, below_rero, grows_with_mu, end_of_success, ddim_against_ddpm, agreement_predicts,
        prior_matters, beats_wiener, wiener_beats_raw,
    )  # fmt: skip
    claims = [claim for make in makers for claim in make(tables)]
    card = io.read_json(layout.prior / "card.json")
    return {
        "study": config.study,
        "headline": headline(claims),
        "claims": [_plain(asdict(claim)) for claim in claims],
        "images": config.data.images,
        "mu": tables.mu,
        "seed": config.seed,
        "attacks": [a.model_dump() for a in config.attacks],
        "prior": {key: card.get(key) for key in CARD_KEYS},
        "notes": notes(tables, card),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "hardware": hardware.describe(),
        "wall_time": wall_time(layout),
    }  # fmt: skip


def _by_mu(tables: Tables, value, low, high) -> list[dict]:
    return [{"mu": m, "value": v, "low": a, "high": b} for m, v, a, b in zip(tables.mu, value, low, high)]


def _ratio(numerator: np.ndarray, denominator: np.ndarray):
    """Ratio of means over images, by mu, with paired bootstrap interval: (value, low, high), each (mu,)."""
    pair = np.stack([numerator, np.broadcast_to(denominator, numerator.shape)], axis=1)
    return stats.bootstrap(pair, lambda rows: rows[:, 0].mean(0) / rows[:, 1].mean(0))


def _span(tables: Tables) -> str:
    return f"mu = {tables.mu[0]:g} to {tables.mu[-1]:g}"


def beats_uninformed(tables: Tables) -> list[Claim]:
    grid = tables.grid(MAIN, "mse")
    if grid is None:
        return []
    value, low, high = _ratio(grid, tables.bound("uninformed", "mse"))
    worst = int(np.argmax(high))
    return [
        Claim(
            "beats_uninformed",
            "The attack beats the uninformed-adversary bound at every mu",
            "beats it by far",
            f"MSE of {MAIN} over the bound's expected MSE: largest at mu = {tables.mu[worst]:g}, "
            f"smallest {value.min():.2g} at mu = {tables.mu[int(np.argmin(value))]:g}",
            value[worst], low[worst], high[worst], len(grid),
            "confirmed" if (high < 1).all() else "not confirmed",
            "The bound is that of an adversary who knows nothing of images, not even the pixel range.",
            _by_mu(tables, value, low, high),
        )
    ]  # fmt: skip


def below_rero(tables: Tables) -> list[Claim]:
    claims = []
    for metric in ("mse", "ssim", "lpips_vgg_64"):
        grid = tables.grid(MAIN, metric)
        if grid is None:
            continue
        sign = 1 if LOWER_IS_BETTER[metric] else -1
        margin = sign * (grid - tables.bound("rero", metric))  # > 0: the attack is worse than the bound allows
        value, low, high = stats.bootstrap(margin)
        worst = int(np.argmin(low))
        claims.append(
            Claim(
                f"below_rero_{metric}",
                f"The attack stays below reconstruction robustness ({metric})",
                "stays below at every mu",
                f"smallest margin to the (0, gamma)-ReRo adversary among {tables.config.bounds.candidates} candidates, "
                f"at mu = {tables.mu[worst]:g}",
                value[worst], low[worst], high[worst], len(grid),
                "confirmed" if (low > 0).all() else "not confirmed" if (high < 0).any() else "inconclusive",
                "ReRo is drawn on the metric's axis as the expected value of an adversary who names the target with "
                "probability gamma and shows the best image that needs no release otherwise (docs/assumptions.md). "
                "ReRo bounds exact reconstruction; where gamma is small, partial success may lie above this line.",
                _by_mu(tables, value, low, high),
            )
        )  # fmt: skip
    return claims


def grows_with_mu(tables: Tables) -> list[Claim]:
    claims = []
    for metric in ("mse", "ssim", "lpips_vgg_64"):
        grid = tables.grid(MAIN, metric)
        if grid is None or len(tables.mu) < 2:
            continue
        better = (-1 if LOWER_IS_BETTER[metric] else 1) * np.diff(grid, axis=1)
        value, low, high = stats.bootstrap(better)
        worst = int(np.argmin(low))
        claims.append(
            Claim(
                f"grows_with_mu_{metric}",
                f"Success grows with mu ({metric})",
                "mu decides",
                f"smallest gain between neighbours of the grid, {tables.mu[worst]:g} to {tables.mu[worst + 1]:g}",
                value[worst], low[worst], high[worst], len(grid),
                "confirmed" if (low > 0).all() else "not confirmed" if (high < 0).any() else "inconclusive",
                by_mu=_by_mu(tables, value, low, high),
            )
        )  # fmt: skip
    return claims


def end_of_success(tables: Tables) -> list[Claim]:
    """The mu below which output is no closer to its target than unrelated images are, for both baselines."""
    claims = []
    for metric in ("mse", "ssim", "lpips_vgg_64"):
        grid = tables.grid(MAIN, metric)
        if grid is None:
            continue
        sign = 1 if LOWER_IS_BETTER[metric] else -1
        for kind, text in (
            ("test_vs_test", "unrelated test images are to each other"),
            ("reconstruction_vs_other", "it is to the targets of other images"),
        ):
            other = tables.unrelated(kind, metric, MAIN, "unconditional")
            gap = sign * ((other[:, None] if other.ndim == 1 else other) - grid)
            value, low, high = stats.bootstrap(gap, lambda rows: crossing(tables.mu, rows.mean(0)))
            if high <= tables.mu[0]:  # the whole interval lies at the grid's edge: no number was measured
                value = low = high = float("nan")
            claims.append(
                Claim(
                    f"end_of_success_{metric}_{kind}",
                    f"There is a mu below which output is no closer to the target ({metric}) than {text}",
                    "mu <= 5, on 32x32 and 256x256 colour images",
                    _crossing_text(tables, gap.mean(0)),
                    value, low, high, len(grid),
                    "inconclusive" if np.isnan(value) or low <= tables.mu[0] else "confirmed with a caveat",
                    "The threshold depends on image size and on the metric; it is not a constant of the attack.",
                    _by_mu(tables, *stats.bootstrap(gap)),
                )
            )  # fmt: skip
    return claims


def crossing(mu: list[float], gap: np.ndarray) -> float:
    """The mu at which gap (> 0: attack better than unrelated) last becomes positive, linear in log mu.

    The grid's first value if the gap is positive throughout, NaN if it is not positive at the grid's end.
    """
    if gap[-1] <= 0:
        return float("nan")
    below = np.flatnonzero(gap <= 0)
    if not len(below):
        return float(mu[0])
    i = below[-1]
    share = -gap[i] / (gap[i + 1] - gap[i])
    return float(np.exp(np.log(mu[i]) + share * (np.log(mu[i + 1]) - np.log(mu[i]))))


def _crossing_text(tables: Tables, gap: np.ndarray) -> str:
    value = crossing(tables.mu, gap)
    if np.isnan(value):
        return "no mu of the grid is above the threshold"
    if value <= tables.mu[0]:
        return f"the threshold lies below the grid: at mu = {tables.mu[0]:g} output is already closer"
    return f"threshold at mu = {value:.2f}"


def ddim_against_ddpm(tables: Tables) -> list[Claim]:
    claims = []
    for metric in ("mse", "lpips_vgg_64"):
        ddim, ddpm = tables.grid("ddim", metric), tables.grid("ddpm", metric)
        if ddim is None or ddpm is None:
            continue
        value, low, high = _ratio(ddim, ddpm)
        worst = int(np.argmax(high))
        claims.append(
            Claim(
                f"ddim_below_ddpm_{metric}",
                f"Deterministic DDIM lies closer to the target than a DDPM draw ({metric})",
                "better data consistency, less diversity",
                f"ratio DDIM / DDPM, largest at mu = {tables.mu[worst]:g}",
                value[worst], low[worst], high[worst], len(ddim),
                "confirmed" if (high < 1).all() else "not confirmed" if (low > 1).any() else "inconclusive",
                by_mu=_by_mu(tables, value, low, high),
            )
        )  # fmt: skip
    return claims


def agreement_predicts(tables: Tables) -> list[Claim]:
    claims = []
    for metric in ("mse", "ssim", "lpips_vgg_64"):
        rows = tables.consistency[tables.consistency["metric"] == metric]
        if rows.empty:
            continue
        found = []
        for mu in tables.mu:
            at = rows[rows["mu"] == mu]
            found.append(
                stats.rank_correlation(at["agreement"].to_numpy(), at["achieved"].to_numpy(), tables.config.seed)
            )
        value, low, high = (np.array(v) for v in zip(*found))
        worst = int(np.argmin(low))
        claims.append(
            Claim(
                f"agreement_predicts_{metric}",
                f"Agreement between draws predicts success within a fixed mu ({metric})",
                "features that persist across draws tend to be genuine",
                f"Spearman correlation over images, smallest at mu = {tables.mu[worst]:g}; "
                f"median over mu {np.median(value):.2f}",
                value[worst], low[worst], high[worst], rows["image"].nunique(),
                "confirmed" if (low > 0).all() else "confirmed with a caveat" if np.median(low) > 0 else "inconclusive",
                "Confirmed with a caveat: at most mu, not at all." if np.median(low) > 0 >= low.min() else "",
                _by_mu(tables, value, low, high),
            )
        )  # fmt: skip
    return claims


def prior_matters(tables: Tables) -> list[Claim]:
    claims = []
    base = tables.grid("posterior_mean", "mse")
    for prior, text, sign in (("true_class", "Knowing the class helps", 1), ("wrong_class", "A wrong prior hurts", -1)):
        grid = tables.grid("posterior_mean", "mse", prior)
        if grid is None or base is None:
            continue
        value, low, high = _ratio(grid, base)
        inside = low if sign < 0 else -high
        limit = 1 if sign < 0 else -1
        best = int(np.argmax(value)) if sign < 0 else int(np.argmin(value))
        claims.append(
            Claim(
                f"prior_{prior}",
                f"{text} (MSE of the posterior mean)",
                "the prior's quality decides; large shift hurts",
                f"ratio to the unconditional prior, strongest at mu = {tables.mu[best]:g}",
                value[best], low[best], high[best], len(grid),
                "confirmed" if (inside > limit).all()
                else "confirmed with a caveat" if (inside > limit).any() else "not confirmed",
                "" if (inside > limit).all() else "Confirmed with a caveat: at some mu, not at all.",
                _by_mu(tables, value, low, high),
            )
        )  # fmt: skip
    return claims


def beats_wiener(tables: Tables) -> list[Claim]:
    return _below(tables, "beats_wiener", "posterior_mean", "unconditional", "wiener", "gaussian",
                  "The diffusion prior's posterior mean beats the Gaussian prior's (ours)")  # fmt: skip


def wiener_beats_raw(tables: Tables) -> list[Claim]:
    return _below(tables, "wiener_beats_raw", "wiener", "gaussian", "raw", "none",
                  "The Gaussian prior beats the clipped observation (ours)")  # fmt: skip


def _below(tables, id_, attack, prior, other, other_prior, text) -> list[Claim]:
    grid, base = tables.grid(attack, "mse", prior), tables.grid(other, "mse", other_prior)
    if grid is None or base is None:
        return []
    value, low, high = _ratio(grid, base)
    worst = int(np.argmax(high))
    verdict = "confirmed" if (high < 1).all() else "not confirmed" if (low > 1).any() else "inconclusive"
    measured = f"MSE ratio {attack} / {other}, largest at mu = {tables.mu[worst]:g}"
    numbers = (float(value[worst]), float(low[worst]), float(high[worst]), len(grid))
    return [Claim(id_, text, "not in the paper", measured, *numbers, verdict, "", _by_mu(tables, value, low, high))]


def headline(claims: list[Claim]) -> str:
    """One sentence."""
    of_paper = [c for c in claims if c.paper != "not in the paper"]
    counts = pd.Series([c.verdict for c in of_paper]).value_counts()
    return f"{len(of_paper)} checks of the paper's claims: " + ", ".join(f"{n} {v}" for v, n in counts.items()) + "."


def notes(tables: Tables, card: dict) -> list[str]:
    """What a reader must be warned of."""
    found = []
    if "lpips_vgg_64" in tables.config.evaluate.metrics and "lpips_vgg_64" not in tables.names:
        found.append("LPIPS could not be computed: no VGG16 backbone was found; its column is absent.")
    if card.get("steps", 0) < card.get("steps_planned", 0):
        found.append(
            f"The prior is half-trained: {card['steps']} of {card['steps_planned']} steps "
            f"({card['passes']} passes over its training images). A finished prior would reconstruct more."
        )
    return found


def wall_time(layout: Layout) -> dict[str, float]:
    """Seconds by stage, summed over jobs, from Snakemake's benchmark files."""
    seconds: dict[str, float] = {}
    for path in sorted((layout.results / "timings").glob("*.tsv")):
        stage = path.stem.split("-")[0]
        seconds[stage] = round(seconds.get(stage, 0.0) + float(pd.read_csv(path, sep="\t")["s"].sum()), 1)
    return seconds


def _plain(value):
    """numpy scalars and NaN to what JSON knows."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, (float, np.floating)):
        return None if np.isnan(value) else float(f"{value:.6g}")
    return int(value) if isinstance(value, np.integer) else value


def closing(layout: Layout) -> str:
    """What `make replicate` prints at its end."""
    found = io.read_json(layout.summary)
    lines = ["", f"Study {found['study']}: {found['headline']}"]
    for claim in found["claims"]:
        number = "" if claim["value"] is None else f" {claim['value']:.3g} [{claim['low']:.3g}, {claim['high']:.3g}]"
        lines.append(f"  {claim['verdict']:<23} {claim['claim']}:{number} (n = {claim['n']}; {claim['measured']})")
    lines += [f"  note: {note}" for note in found["notes"]]
    lines += [f"Report:  {layout.report}", f"Figures: {layout.figures}/", f"Tables:  {layout.results}/"]
    return "\n".join(lines)
