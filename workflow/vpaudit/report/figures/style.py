"""How figures look: sizes in inches, fonts, and one colour an attack, the same in every figure.

Okabe and Ito's palette, and wine from Tol's for the one colour that it lacks: safe for the colour-blind.
"""

from pathlib import Path

import yaml

from vpaudit.base.errors import VpauditError

COLOURS = {
    "raw": "#999999",
    "wiener": "#E69F00",
    "posterior_mean": "#0072B2",
    "ddim": "#D55E00",
    "ddpm": "#CC79A7",
    "uninformed": "#555555",
    "rero": "#009E73",
    "corridor": "#BBBBBB",
    "unrelated": "#000000",
    "true_class": "#56B4E9",
    "unconditional": "#0072B2",
    "wrong_class": "#882255",
    "gaussian": "#E69F00",
    "none": "#999999",
}
NARROW = 5.0  # inches
STYLES = {
    "default": {
        "width": 7.0,  # of a figure that spans both columns of a page
        "height": 9.0,  # the most that a page holds
        "font_size": 8.0,
        "font": "DejaVu Sans",
        "dpi": 200,
        "mu_map": "viridis",
        "colours": COLOURS,
    },
}
# Of a figure in one column of a page: panels stand below each other.
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
    """Whether panels that stand side by side on a page must stand below each other."""
    return style["width"] < NARROW


def size(style: dict, share: float) -> tuple[float, float]:
    """Width and height in inches: `share` of the width, and never higher than the page."""
    return style["width"], min(share * style["width"], style["height"])


def rc(style: dict) -> dict:
    """matplotlib settings: text stays text in PDF, fonts are embedded."""
    size = style["font_size"]
    return {
        "font.family": style["font"],
        "font.size": size,
        "axes.titlesize": size,
        "axes.labelsize": size,
        "legend.fontsize": size - 1,
        "xtick.labelsize": size - 1,
        "ytick.labelsize": size - 1,
        "figure.dpi": style["dpi"],
        "savefig.dpi": style["dpi"],
        "pdf.fonttype": 42,
        "ps.fonttype": 42,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.6,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "xtick.major.size": 2.5,
        "ytick.major.size": 2.5,
        "ytick.minor.size": 1.5,
        "lines.linewidth": 1.2,
        "figure.constrained_layout.use": True,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.linewidth": 0.3,
        "grid.alpha": 0.6,
    }
