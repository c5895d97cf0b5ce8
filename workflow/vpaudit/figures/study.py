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
METRICS = {
    "mse": ("MSE", False),
    "ssim": ("SSIM", True),
    "lpips_vgg_64": ("LPIPS-VGG", False),
    "ncc": ("NCC", True),
    "psnr": ("PSNR (dB)", True),
}


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
    def measured(self) -> list[str]:
        """Metrics to draw, in order; one that could not be computed is not there."""
        there = set(self.metrics["metric"])
        return [m for m in ("mse", "ssim", "lpips_vgg_64") if m in there]

    def arrays(self, kind: str, mu: float | None = None):
        name = f"{kind}.npz" if mu is None else f"{kind}/mu={mu:g}.npz"
        return np.load(self._path(name))

    def epsilon(self, mu: float) -> float:
        rows = self.bounds[(self.bounds["bound"] == "epsilon") & np.isclose(self.bounds["mu"], mu)]
        return float(rows["value"].iloc[0])

    def bound(self, name: str, metric: str) -> pd.DataFrame:
        """Rows of a bound on a metric, by mu; empty if it is not drawn on this metric."""
        rows = self.bounds[(self.bounds["bound"] == name) & (self.bounds["metric"] == metric)]
        return rows.sort_values("mu")

    def curve(self, prior: str, attack: str, metric: str) -> pd.DataFrame:
        """mu, value, low, high, n: mean over images (of the mean over draws) with its 95 % interval."""
        t = self.metrics
        t = t[(t["prior"] == prior) & (t["attack"] == attack) & (t["metric"] == metric)]
        if t.empty:
            return pd.DataFrame(columns=["mu", "value", "low", "high", "n"])
        grid = t.pivot_table(index="image", columns="mu", values="value")
        value, low, high = stats.bootstrap(grid.to_numpy())
        return pd.DataFrame({"mu": grid.columns, "value": value, "low": low, "high": high, "n": len(grid)})

    def unrelated(self, metric: str) -> tuple[float, float, float]:
        """Unrelated test images against each other: mean and 95 % interval."""
        t = self.baselines[(self.baselines["kind"] == "test_vs_test") & (self.baselines["metric"] == metric)]
        return tuple(float(v) for v in stats.bootstrap(t["value"].to_numpy()))

    def unrelated_curve(self, attack: str, metric: str) -> pd.DataFrame:
        """Reconstructions against the targets of other images, by mu."""
        t = self.baselines
        t = t[(t["kind"] == "reconstruction_vs_other") & (t["metric"] == metric) & (t["attack"] == attack)]
        t = t[t["prior"] == "unconditional"]
        return t.groupby("mu", as_index=False)["value"].mean()


def number(value: float) -> str:
    """Three significant digits, no exponent: 0.512, 33.1, 1,460."""
    digits = max(0, 2 - int(np.floor(np.log10(abs(value))))) if value else 0
    return f"{float(f'{value:.3g}'):,.{digits}f}"


def epsilon_axis(axes, study: Study) -> None:
    """A second axis on top: epsilon at the study's delta, at the grid's mu."""
    top = axes.secondary_xaxis("top")
    shown = [mu for i, mu in enumerate(study.mu) if i % 2 == 0 or len(study.mu) < 5]
    top.set_xticks(shown, [number(study.epsilon(mu)) for mu in shown])
    top.minorticks_off()
    top.set_xlabel(f"ε at δ = {study.config['mechanism']['delta']:g}")


def mu_axis(axes, study: Study) -> None:
    """Logarithmic mu with the grid's own ticks."""
    axes.set_xscale("log")
    axes.set_xticks(study.mu, [f"{mu:g}" for mu in study.mu])
    axes.minorticks_off()
    axes.set_xlabel("µ = C/σ")
