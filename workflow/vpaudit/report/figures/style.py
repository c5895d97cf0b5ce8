"""How figures look: seaborn's themes and contexts at the sizes of a page, colours from the table of looks."""

from pathlib import Path

import matplotlib
import seaborn as sns
import yaml

from vpaudit.base.errors import VpauditError
from vpaudit.base.labels import LOOKS

matplotlib.use("Agg")  # files, never a window
COLOURS = {name: look.colour for name, look in LOOKS.items()}
NARROW = 5.0  # inches
PAPER = 9.6  # font size of seaborn's context "paper", in points
STYLES = {
    "default": {
        "width": 7.0,  # inches, of a figure that spans both columns of a page
        "height": 9.0,  # the most that a page holds
        "font_size": 8.0,
        "font": "DejaVu Sans",
        "dpi": 200,
        "mu_map": "viridis",
        "colours": COLOURS,
    },
}
# Of a figure in one column of a page: panels are below each other.
STYLES["single"] = {**STYLES["default"], "width": 3.35, "font_size": 6.5, "dpi": 300}
STYLES["print"] = {**STYLES["default"], "width": 6.75, "font_size": 7.0, "font": "DejaVu Serif", "dpi": 300}
STYLES["slides"] = {**STYLES["default"], "width": 10.0, "height": 7.5, "font_size": 12.0, "dpi": 150}


def get(name: str | dict) -> dict:
    """A style by name, or a dict or YAML file whose keys replace those of `default`."""
    if isinstance(name, dict):
        return _merged(name, "given as a dict")
    if name in STYLES:
        return STYLES[name]
    if Path(name).suffix in (".yaml", ".yml") and Path(name).exists():
        try:
            given = yaml.safe_load(Path(name).read_text(encoding="utf-8")) or {}
        except yaml.YAMLError as error:
            raise VpauditError(f"style {name} is not valid YAML: {error}", "correct the file") from error
        if not isinstance(given, dict):
            raise VpauditError(f"style {name} holds no keys", f"known: {', '.join(STYLES['default'])}")
        return _merged(given, name)
    raise VpauditError(f"no style {name!r}", f"use {', '.join(STYLES)} or an existing YAML file")


def _merged(given: dict, name: str) -> dict:
    """`default` with the given keys; an unknown key or colour is named."""
    colours = given.get("colours", {})
    for known, keys in ((STYLES["default"], given), (COLOURS, colours)):
        unknown = sorted(set(keys) - set(known))
        if unknown:
            raise VpauditError(f"style {name}: unknown key {unknown[0]!r}", f"known: {', '.join(known)}")
    return {**STYLES["default"], **given, "colours": {**COLOURS, **colours}}


def narrow(style: dict) -> bool:
    """Whether panels that are side by side on a page must be below each other."""
    return style["width"] < NARROW


def size(style: dict, share: float) -> tuple[float, float]:
    """Width and height in inches: `share` of the width, and never higher than the page."""
    return style["width"], min(share * style["width"], style["height"])


def rc(style: dict) -> dict:
    """matplotlib settings: seaborn's theme "ticks" in its context "paper"; in PDF, text stays text, fonts are embedded.

    Fonts scale to the style's size; lines and ticks are finer than seaborn's, for panels of two inches.
    """
    size = style["font_size"]
    theme = sns.axes_style(
        "ticks",
        {
            "font.family": style["font"],
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.edgecolor": "black",
            "axes.grid": True,
            "grid.color": "#b0b0b0",
        },
    )
    small = dict.fromkeys(("legend.fontsize", "xtick.labelsize", "ytick.labelsize"), size - 1)
    fine = {
        "axes.linewidth": 0.6,
        "grid.linewidth": 0.3,
        **dict.fromkeys(("xtick.major.width", "ytick.major.width"), 0.6),
        **dict.fromkeys(("xtick.major.size", "ytick.major.size"), 2.5),
        **dict.fromkeys(("xtick.minor.size", "ytick.minor.size"), 1.5),
    }
    context = sns.plotting_context("paper", font_scale=size / PAPER, rc={**small, **fine})
    own = {
        "figure.dpi": style["dpi"],
        "savefig.dpi": style["dpi"],
        "pdf.fonttype": 42,
        "ps.fonttype": 42,
        "figure.constrained_layout.use": True,
        "grid.alpha": 0.6,
        "legend.frameon": False,
    }
    return {**theme, **context, **own}
