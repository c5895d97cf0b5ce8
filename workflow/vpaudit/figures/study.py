"""A finished study as figures see it: tables, a few arrays, and helpers that every figure shares."""

from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from vpaudit import stats
from vpaudit.errors import VpauditError

LABELS = {
    "raw": "observation (no prior)",
    "wiener": "Gaussian prior",
    "posterior_mean": "posterior mean",
    "ddim": "DDIM",
    "ddpm": "DDPM draw",
    "true_class": "true class known",
    "unconditional": "no class known",
    "wrong_class": "wrong class believed",
    "gaussian": "Gaussian prior",
    "none": "no prior",
}
METRICS = {  # name in print, whether higher is closer
    "mse": ("MSE", False),
    "ssim": ("SSIM", True),
    "lpips_vgg_64": ("LPIPS-VGG", False),
    "ncc": ("NCC", True),
    "psnr": ("PSNR (dB)", True),
}
MAIN_METRICS = ("mse", "ssim", "lpips_vgg_64")


class Study:
    """results/<study>/, read when first needed."""

    def __init__(self, results: Path):
        self.results = results
        self.config = yaml.safe_load(self._path("config.yaml").read_text(encoding="utf-8"))

    def _path(self, name: str) -> Path:
        path = self.results / name
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

    @property
    def mu(self) -> list[float]:
        return [float(mu) for mu in self.config["mechanism"]["mu"]]

    @property
    def candidates(self) -> int:
        """n of the adversary who picks the target out of n candidates; kappa = 1/n."""
        return int(self.config["bounds"]["candidates"])

    @property
    def measured(self) -> list[str]:
        """The main metrics in order; one that could not be computed is not there."""
        return [m for m in MAIN_METRICS if m in set(self.metrics["metric"])]

    @property
    def missing(self) -> list[str]:
        """Main metrics that could not be computed."""
        return [m for m in MAIN_METRICS if m not in self.measured]

    @property
    def images(self) -> int:
        """How many images the means are over."""
        return self.metrics["image"].nunique()

    @property
    def draws(self) -> int:
        """Draws of the stochastic attack per observation."""
        return int(self.metrics["draw"].max()) + 1

    def arrays(self, kind: str, mu: float | None = None):
        """An npz file; a context manager, its arrays are read when asked for."""
        name = f"{kind}.npz" if mu is None else f"{kind}/mu={mu:g}.npz"
        return np.load(self._path(name))

    def epsilon(self, mu: float) -> float:
        rows = self.bounds[(self.bounds["bound"] == "epsilon") & np.isclose(self.bounds["mu"], mu)]
        if rows.empty:
            raise VpauditError(f"bounds.parquet holds no epsilon at mu = {mu:g}", "run the stage `bounds` again")
        return float(rows["value"].iloc[0])

    def bound(self, name: str, metric: str) -> pd.DataFrame:
        """Rows of a bound on a metric, by mu; empty if it is not drawn on this metric."""
        rows = self.bounds[(self.bounds["bound"] == name) & (self.bounds["metric"] == metric)]
        return rows.sort_values("mu")

    def grid(self, prior: str, attack: str, metric: str) -> pd.DataFrame:
        """(images, mu): the metric of each image, mean over draws; empty if the study did not run the attack."""
        t = self.metrics
        t = t[(t["prior"] == prior) & (t["attack"] == attack) & (t["metric"] == metric)]
        return t.pivot_table(index="image", columns="mu", values="value")

    def curve(self, prior: str, attack: str, metric: str) -> pd.DataFrame:
        """mu, value, low, high, n: mean over images (of the mean over draws) with its 95 % interval."""
        return _curve(self.grid(prior, attack, metric))

    def ratio(self, pair: tuple[str, str], base: tuple[str, str], metric: str) -> pd.DataFrame:
        """mu, value, low, high, n: mean loss of one (prior, attack) over that of another.

        The loss is the metric where lower is closer, and 1 - metric for a similarity. Both means are over the same
        resampled images, so the interval is that of the comparison.
        """
        loss = [self.grid(*p, metric) for p in (pair, base)]
        if loss[0].empty or loss[1].empty:
            return _curve(loss[0].iloc[:0])
        if METRICS[metric][1]:
            loss = [1 - rows for rows in loss]
        both = np.stack([loss[0].to_numpy(), loss[1].loc[loss[0].index, loss[0].columns].to_numpy()], axis=1)
        value, low, high = stats.bootstrap(both, lambda rows: rows[:, 0].mean(0) / rows[:, 1].mean(0))
        return pd.DataFrame({"mu": loss[0].columns, "value": value, "low": low, "high": high, "n": len(both)})

    def unrelated(self, metric: str) -> tuple[float, float, float]:
        """Unrelated test images against each other: mean and 95 % interval."""
        t = self.baselines[(self.baselines["kind"] == "test_vs_test") & (self.baselines["metric"] == metric)]
        return tuple(float(v) for v in stats.bootstrap(t["value"].to_numpy()))

    def unrelated_curve(self, attack: str, metric: str) -> pd.DataFrame:
        """Reconstructions against the targets of other images, by mu, like `curve`."""
        t = self.baselines
        t = t[(t["kind"] == "reconstruction_vs_other") & (t["metric"] == metric) & (t["attack"] == attack)]
        t = t[t["prior"] == "unconditional"]
        return _curve(t.pivot_table(index="image", columns="mu", values="value"))


def _curve(grid: pd.DataFrame) -> pd.DataFrame:
    if grid.empty:
        return pd.DataFrame({k: pd.Series(dtype=float) for k in ("mu", "value", "low", "high", "n")})
    value, low, high = stats.bootstrap(grid.to_numpy())
    return pd.DataFrame({"mu": grid.columns, "value": value, "low": low, "high": high, "n": len(grid)})


def number(value: float) -> str:
    """Three significant digits, no exponent: 0.512, 33.1, 1,460."""
    rounded = float(f"{value:.3g}")
    digits = max(0, 2 - int(np.floor(np.log10(abs(rounded))))) if rounded else 0
    return f"{rounded:,.{digits}f}"


def epsilon_axis(axes, study: Study, columns: int) -> None:
    """A second axis on top: epsilon at the study's delta, at as many of the grid's mu as fit side by side.

    Args:
        columns: panels beside each other, which decides how much room a number has.
    """
    top = axes.secondary_xaxis("top")
    shown = _apart(study.mu, 0.075 * columns)
    top.set_xticks(shown, [number(study.epsilon(mu)) for mu in shown])
    top.minorticks_off()
    top.set_xlabel(f"ε at δ = {power(study.config['mechanism']['delta'])}")


def mu_axis(axes, study: Study, label: bool = True) -> None:
    """Logarithmic mu with the grid's own ticks, as many labelled as fit side by side."""
    axes.set_xscale("log")
    shown = _apart(study.mu, 0.05)
    axes.set_xticks(study.mu, [f"{mu:g}" if mu in shown else "" for mu in study.mu])
    axes.minorticks_off()
    axes.margins(x=0.04)
    if label:
        axes.set_xlabel("µ = C/σ")


def _apart(mu: list[float], gap: float) -> list[float]:
    """The first, the last, and between them those at least `gap` of the logarithmic axis apart."""
    places = np.log(mu) / max(np.log(mu[-1] / mu[0]), 1e-9) if len(mu) > 1 else np.zeros(1)
    kept = [0]
    for i in range(1, len(mu)):
        if places[i] - places[kept[-1]] >= gap:
            kept.append(i)
    last = len(mu) - 1
    if kept[-1] != last:
        kept = [k for k in kept if k == 0 or places[last] - places[k] >= gap] + [last]
    return [mu[i] for i in kept]


def power(value: float) -> str:
    """1e-05 as 10⁻⁵, other numbers as they are."""
    digits = f"{value:.0e}"
    if float(digits) != value or not digits.startswith("1e"):
        return f"{value:g}"
    return "10" + str(int(digits[2:])).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
