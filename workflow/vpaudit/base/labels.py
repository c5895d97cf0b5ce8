"""What things are called, how they are drawn and how numbers are written: a table of metrics, one of looks."""

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


@dataclass(frozen=True)
class Look:
    """How an attack, a prior, a bound or a baseline is called and drawn, in every figure and in the page.

    Attributes:
        colour: Okabe and Ito's, and wine from Tol's palette, both safe for the colour-blind.
        marker: matplotlib's letter, "" for none; chart.js draws the same forms.
        dash: lengths of strokes and gaps in points, () for a line without gaps.
    """

    label: str
    colour: str
    marker: str = ""
    dash: tuple[float, ...] = ()


LOOKS = {
    "raw": Look("observation (no prior)", "#999999", "X"),
    "wiener": Look("Gaussian prior", "#E69F00", "^"),
    "posterior_mean": Look("posterior mean", "#0072B2", "s"),
    "ddim": Look("DDIM", "#D55E00", "o"),
    "ddpm": Look("DDPM sample", "#CC79A7", "D"),
    "given_norm": Look("best guess that uses the norm", "#009E73", "P"),
    "posterior_mean_untold": Look("posterior mean, not told λ", "#56B4E9", "p"),
    "ddim_untold": Look("DDIM, not told λ", "#882255", "v"),
    "true_class": Look("true class known", "#56B4E9", "v"),
    "unconditional": Look("no class known", "#0072B2", "s"),
    "wrong_class": Look("wrong class believed", "#882255", "P"),
    "gaussian": Look("Gaussian prior", "#E69F00", "^"),
    "none": Look("no prior", "#999999", "X"),
    "uninformed": Look("uninformed adversary", "#555555", dash=(4, 2)),
    "floor": Look("floor, if not told λ", "#332288", dash=(7, 2, 1, 2)),
    "theorem": Look("most that the theorem allows it", "#777777", dash=(4, 2)),
    "any_untold": Look("most for any attack not told λ", "#000000", dash=(1, 1)),
    "whole_budget": Look("µ itself", "#000000", dash=(3, 1.5)),
    "unrelated": Look("unrelated test images", "#000000", dash=(1, 2)),
    "others": Look("DDIM output, other targets", "#000000", dash=(6, 2, 1, 2, 1, 2)),
}
LABELS = {name: look.label for name, look in LOOKS.items()}


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
