"""The results of a finished study, read when first needed: what claims, figures and page share."""

from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from vpaudit.base import pixels, stats
from vpaudit.base.errors import VpauditError
from vpaudit.base.labels import LPIPS, MAIN_METRICS, METRICS
from vpaudit.report import success

ATTACKS = (  # (prior, attack) that tables and figures compare, from the least knowledge of images to the most
    ("none", "raw"),
    ("gaussian", "wiener"),
    ("unconditional", "ddim_untold"),
    ("unconditional", "posterior_mean"),
    ("unconditional", "ddim"),
    ("unconditional", "ddpm"),
    ("unconditional", "given_norm"),
)
MARGINS = (0.01, 0.05, 0.1)
STRONGEST = ("given_norm", "posterior_mean", "ddim")  # the first that was run, an order fixed before any result
BASELINES = ("unrelated", "others")
BOUNDS = (
    "uninformed",
    "floor",
)  # what needs no knowledge of images; below which no attack gets that is not told lambda


class Results:
    """results/<study>/, read when first needed."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.config = yaml.safe_load(self._path("config.yaml").read_text(encoding="utf-8"))

    def _path(self, name: str) -> Path:
        path = self.folder / name
        if not path.exists():
            raise VpauditError(f"{path} does not exist", "run `snakemake`, which makes it")
        return path

    @cached_property
    def metrics(self) -> pd.DataFrame:
        return pd.read_parquet(self._path("metrics.parquet"))

    @cached_property
    def baselines(self) -> pd.DataFrame:
        return pd.read_parquet(self._path("baselines.parquet"))

    @cached_property
    def bounds(self) -> pd.DataFrame:
        return pd.read_parquet(self._path("bounds.parquet"))

    @cached_property
    def agreement(self) -> pd.DataFrame:
        return pd.read_parquet(self._path("consistency.parquet"))

    @cached_property
    def references(self) -> pd.DataFrame:
        """Outputs on releases that do not hold the target, against it; no rows where the study made none."""
        path = self.folder / "references.parquet"
        return pd.read_parquet(path) if path.exists() else pd.DataFrame()

    @cached_property
    def _counts(self) -> list[success.Counts]:
        if self.references.empty:
            return []
        return success.counts(self.metrics, self.references, self.baselines, self.config["success"]["thresholds"])

    @cached_property
    def success(self) -> pd.DataFrame:
        """How often attacks succeed, against the theorem's bound: `success.tested`."""
        return success.tested(self._counts)

    @cached_property
    def visual_mu(self) -> pd.DataFrame:
        """How much of mu attacks turn into success: `success.visual`."""
        return success.visual(self._counts)

    @cached_property
    def public(self) -> np.ndarray | None:
        """(n, ...) images of the targets' kind that anyone may know, in [-1, 1]; None where there are none."""
        if not (self.folder / "public.npz").exists():
            return None
        with self.arrays("public") as file:
            return pixels.signed(file["images"][: success.PUBLIC])

    @property
    def mu(self) -> list[float]:
        return [float(mu) for mu in self.config["mechanism"]["mu"]]

    @property
    def candidates(self) -> int:
        """n of the adversary who picks the target out of n candidates; kappa = 1/n."""
        return int(self.config["bounds"]["candidates"])

    @property
    def margin(self) -> float:
        """Share recovered below which reconstruction is said to have ended."""
        return float(self.config["evaluate"]["margin"])

    @property
    def margins(self) -> tuple[float, ...]:
        """Those for which an end is told: `MARGINS` and the study's own, rising."""
        return tuple(sorted({*MARGINS, self.margin}))

    @property
    def measured(self) -> list[str]:
        """The main metrics in order; one that could not be computed is not there."""
        found = self.metrics["metric"].unique()
        return [m for m in MAIN_METRICS if m in found]

    @property
    def panels(self) -> list[str]:
        """The metrics that figure and page give a panel each, measured or not."""
        lpips = "lpips_vgg" if "lpips_vgg" in set(self.metrics["metric"]) else "lpips_vgg_64"
        return ["mse", "ncc", "ssim", lpips]

    @property
    def missing(self) -> list[str]:
        """Main metrics that could not be computed."""
        lpips = [m for m in LPIPS if m in self.measured] or LPIPS[:1]  # only one of them belongs to a study
        return [m for m in ("mse", "ssim", *lpips) if m not in self.measured]

    @property
    def images(self) -> int:
        """How many images the means are over."""
        return self.metrics["image"].nunique()

    @property
    def draws(self) -> int:
        """Draws of the stochastic attack per observation."""
        return int(self.metrics["draw"].max()) + 1

    @property
    def local(self) -> bool:
        """Whether the images came from the user's own folder or archive, and are therefore taken for private."""
        return bool(self.config["data"].get("folder"))

    def strongest(self, metric: str) -> pd.DataFrame:
        """Rows of `visual_mu` of the strongest attack, by mu; none where success was not measured in this metric."""
        t = self.visual_mu[(self.visual_mu["prior"] == "unconditional") & (self.visual_mu["metric"] == metric)]
        attack = next((a for a in STRONGEST if a in set(t["attack"])), None)
        return t[t["attack"] == attack].sort_values("mu")

    def arrays(self, kind: str, mu: float | None = None):
        """An npz file, of a sharded study its first shard; a context manager, arrays are read when asked for."""
        name = f"{kind}.npz" if mu is None else f"{kind}/mu={mu:g}.npz"
        first = self.folder / f"{kind}/mu={mu:g}_shard=0000.npz" if mu is not None else None
        return np.load(first if first is not None and first.exists() else self._path(name))

    def in_arrays(self) -> int:
        """How many of the targets the arrays hold: all, or the first shard, which comes first in targets.npz."""
        with self.arrays("observations", self.mu[0]) as file:
            return len(file["ids"])

    def epsilon(self, mu: float) -> float:
        rows = self.bounds[(self.bounds["bound"] == "epsilon") & np.isclose(self.bounds["mu"], mu)]
        if rows.empty:
            raise VpauditError(f"bounds.parquet holds no epsilon at mu = {mu:g}", "run the stage `bounds` again")
        return float(rows["value"].iloc[0])

    def bound(self, name: str, metric: str) -> pd.DataFrame:
        """Rows of a bound on a metric, by mu; empty if it does not exist for this metric."""
        rows = self.bounds[(self.bounds["bound"] == name) & (self.bounds["metric"] == metric)]
        return rows.sort_values("mu")

    def grid(self, prior: str, attack: str, metric: str) -> pd.DataFrame:
        """(images, mu): the metric of each image, mean over draws; empty if the study did not run the attack."""
        t = self.metrics
        t = t[(t["prior"] == prior) & (t["attack"] == attack) & (t["metric"] == metric)]
        return t.pivot_table(index="image", columns="mu", values="value")

    def curve(self, prior: str, attack: str, metric: str) -> pd.DataFrame:
        """mu, value, low, high, n: mean over images (of the mean over draws) with its 95 % interval."""
        return curve_of(self.grid(prior, attack, metric))

    def compared(self, metric: str) -> pd.DataFrame:
        """look, mu, value, low, high over the grid: `ATTACKS`, `BASELINES` and `BOUNDS`, those that the study has."""
        value, low, high = stats.bootstrap(self.unrelated(metric).to_numpy())
        tables = {attack: self.curve(prior, attack, metric) for prior, attack in ATTACKS}
        tables["unrelated"] = pd.DataFrame({"mu": self.mu, "value": value, "low": low, "high": high})
        tables["others"] = curve_of(self.others("ddim", metric))
        tables |= {name: self.bound(name, metric) for name in BOUNDS}
        kept = [rows.assign(look=name) for name, rows in tables.items() if len(rows)]
        return pd.concat(kept, ignore_index=True)[["look", "mu", "value", "low", "high", "n"]]

    def untold(self, attack: str) -> bool:
        """Whether this attack is not told lambda, which says how large the target's norm is."""
        known = {a["name"]: a.get("knowledge", {}).get("lam", "known") for a in self.config.get("attacks", [])}
        return known.get(attack, "known") != "known"

    def ratio(self, pair: tuple[str, str], base: tuple[str, str], metric: str) -> pd.DataFrame:
        """mu, value, low, high, n: mean loss of one (prior, attack) over that of another.

        The loss is the metric where lower is closer, and 1 - metric for a similarity. Both means are over the same
        resampled images, so the interval is that of the comparison.
        """
        loss = [self.grid(*p, metric) for p in (pair, base)]
        if loss[0].empty or loss[1].empty:
            return curve_of(loss[0].iloc[:0])
        if METRICS[metric].higher_is_better:
            loss = [1 - rows for rows in loss]
        base_loss = loss[1].loc[loss[0].index, loss[0].columns]
        value, low, high = stats.ratio(loss[0].to_numpy(), base_loss.to_numpy())
        return pd.DataFrame({"mu": loss[0].columns, "value": value, "low": low, "high": high, "n": len(base_loss)})

    def recovered(self, attack: str | None, metric: str = "mse", prior: str = "unconditional") -> pd.DataFrame:
        """`share_recovered` of an attack in a metric; empty if the study did not run it.

        Against the targets of other images: measured against unrelated test images, bland output would count as
        success, because the mean of all images already halves their squared error.
        """
        own = self.grid(prior, attack, metric)
        others = self.others(attack, metric, prior).reindex(index=own.index, columns=own.columns)
        if others.isna().any(axis=None):
            raise VpauditError("baselines.parquet lacks images of metrics.parquet", "run the stage `evaluate` again")
        return share_recovered(own, others, metric)

    def rank_correlations(self, metric: str) -> pd.DataFrame:
        """mu, value, low, high, n: Spearman's rho over images between agreement and achievement, within each mu."""
        rows, found = self.agreement[self.agreement["metric"] == metric], []
        for mu in self.mu:
            pair = rows.loc[np.isclose(rows["mu"], mu), ["agreement", "achieved"]].to_numpy().T
            if pair.shape[1] > 2:
                found.append((mu, *stats.rank_correlation(*pair, self.config["seed"]), pair.shape[1]))
        return pd.DataFrame(found, columns=["mu", "value", "low", "high", "n"])

    def unrelated(self, metric: str) -> pd.Series:
        """(images,): each test image against other test images, `projected`."""
        t = self.baselines[(self.baselines["kind"] == "test_vs_test") & (self.baselines["metric"] == metric)]
        return projected(t.assign(mu=0.0))[0.0]

    def others(self, attack: str, metric: str, prior: str = "unconditional") -> pd.DataFrame:
        """(images, mu): each output against the targets of other images, `projected`."""
        t = self.baselines
        t = t[(t["kind"] == "reconstruction_vs_other") & (t["metric"] == metric)]
        return projected(t[(t["attack"] == attack) & (t["prior"] == prior)])


def projected(pairs: pd.DataFrame) -> pd.DataFrame:
    """(images, mu): one value an image for means over pairs, as `stats.projected`.

    Args:
        pairs: columns image, other (ids), mu, value; every image has as many pairs, at each mu with the same images.

    Raises:
        VpauditError: the table is of before pairs were kept.
    """
    if "other" not in pairs:
        raise VpauditError("the table of baselines has no column `other`", "run the stage `evaluate` again")
    if pairs.empty:
        return pairs.pivot_table(index="image", columns="mu", values="value")
    pairs = pairs.sort_values(["image", "other"])
    number = pairs.groupby(["image", "mu"]).cumcount()
    keys, columns = ["number", "image"], ["value", "other"]
    wide = pairs.assign(number=number).pivot_table(index=keys, columns="mu", values=columns)
    ids, mu = np.unique(pairs["image"]), wide["value"].columns
    values = wide["value"].to_numpy().reshape(-1, len(ids), len(mu))
    partners = np.searchsorted(ids, wide["other"].iloc[:, 0].to_numpy().reshape(-1, len(ids)))
    return pd.DataFrame(stats.projected(values, partners), index=pd.Index(ids, name="image"), columns=mu)


def share_recovered(own: pd.DataFrame, others: pd.DataFrame, metric: str) -> pd.DataFrame:
    """By how much output is closer to its own target than to other images, as a share: 1 - own / others, of means.

    0 is output that would suit any image as well, however bland; 1 is the target. Of a similarity 1 - its value is
    taken for a distance.

    Args:
        own, others: (images, mu) of the metric, the latter `projected`.

    Returns:
        mu, value, low, high (95 %), n, and upper: the one-sided 95 % limit, which decides where reconstruction ends.
    """
    if own.empty:
        return curve_of(own).assign(upper=[])
    pair = [(1 - rows if METRICS[metric].higher_is_better else rows).to_numpy() for rows in (own, others)]
    value, low, high = stats.share_recovered(*pair)
    upper = stats.share_recovered(*pair, level=2 * stats.LEVEL - 1)[2]
    return pd.DataFrame({"mu": own.columns, "value": value, "low": low, "high": high, "n": len(own), "upper": upper})


def ends(shares: pd.DataFrame, margins: tuple[float, ...]) -> dict[float, float]:
    """{margin: the largest mu up to which less of the distance between images is recovered}; NaN: at no mu asked.

    Args:
        shares: mu and upper, as of `share_recovered`.
    """
    return {m: stats.end_of_reconstruction(shares["mu"], shares["upper"], m) for m in margins}


def curve_of(grid: pd.DataFrame) -> pd.DataFrame:
    """mu, value, low, high, n: means over the rows (images) of an (images, mu) table, 95 % intervals."""
    if grid.empty:
        return pd.DataFrame({k: pd.Series(dtype=float) for k in ("mu", "value", "low", "high", "n")})
    value, low, high = stats.bootstrap(grid.to_numpy())
    return pd.DataFrame({"mu": grid.columns, "value": value, "low": low, "high": high, "n": len(grid)})


def limits(metric: str, compared: pd.DataFrame) -> tuple[float, float]:
    """Of an axis that shows attacks and baselines whole, and bounds where they are near; of MSE it is logarithmic."""
    shown = compared[~compared["look"].isin(BOUNDS)]
    low, high = shown["low"].min(), shown["high"].max()
    if metric == "mse":
        return 0.6 * low, 2 * high
    return min(0.0, low) - 0.03, max(1.0 if METRICS[metric].higher_is_better else 0.0, high) + 0.03
