"""What things are called and how numbers are written: one table of metrics, one of labels. Torch is not needed."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """Label in print, direction, and value of a perfect reconstruction."""

    label: str
    higher_is_better: bool
    perfect: float


METRICS = {
    "mse": Metric("MSE", False, 0.0),
    "psnr": Metric("PSNR (dB)", True, math.inf),
    "ssim": Metric("SSIM", True, 1.0),
    "ncc": Metric("NCC", True, 1.0),
    "lpips_vgg_64": Metric("LPIPS-VGG", False, 0.0),  # images enlarged to 64 pixels first
    "lpips_vgg": Metric("LPIPS-VGG", False, 0.0),
}
LPIPS = ("lpips_vgg_64", "lpips_vgg")  # a study has one of them
MAIN_METRICS = ("mse", "ssim", *LPIPS)  # those in which the paper's claims are checked

# Experiments beyond the paper's study (workflow/vpaudit/experiments), each with a figure of the same name.
EXPERIMENTS = (
    "calls",
    "calibration",
    "averaging",
    "knowledge",
    "rounds",
    "gradients",
    "prediction",
    "draws",
    "precision",
    "fitted",
)
WHOLE_GRID = ("calls", "fitted")  # those that run at every mu of the study, and not of the experiments' shorter grid
# Those that run over all mu at once, for docs/theory.md and the question of denoised gradients.
MEASUREMENTS = ("curves", "scores", "ball", "scale", "shift", "transition", "distances", "dpsgd")
# Figures that are no part of the default study, and lie in a folder of their own.
ENGINE_FIGURES = (
    *EXPERIMENTS, "confident", "scale", "shift", "transition", "dpsgd", "peers", "cost", "information", "floors",
)  # fmt: skip

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


def number(value: float) -> str:
    """Three significant digits, no exponent: 0.512, 33.1, 1,460."""
    rounded = float(f"{value:.3g}")
    digits = max(0, 2 - math.floor(math.log10(abs(rounded)))) if rounded else 0
    return f"{rounded:,.{digits}f}"


def interval(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """A value with its interval, "0.144 [0.134, 0.155]"; alone where it has none, "–" where there is no value."""
    if value is None or math.isnan(value):
        return "–"
    if low is None or math.isnan(low):
        return f"{value:.3g}"
    return f"{value:.3g} [{low:.3g}, {high:.3g}]"


def power(value: float) -> str:
    """1e-05 as 10⁻⁵, other numbers as they are."""
    digits = f"{value:.0e}"
    if float(digits) != value or not digits.startswith("1e"):
        return f"{value:g}"
    return "10" + str(int(digits[2:])).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
