"""How figures look: sizes in inches, fonts, and one colour an attack, the same in every figure (Okabe-Ito)."""

from pathlib import Path

import yaml

from vpaudit.errors import VpauditError

COLOURS = {
    "raw": "#999999",
    "wiener": "#E69F00",
    "posterior_mean": "#0072B2",
    "ddim": "#D55E00",
    "ddpm": "#CC79A7",
    "uninformed": "#555555",
    "rero": "#009E73",
    "unrelated": "#000000",
    "true_class": "#009E73",
    "unconditional": "#0072B2",
    "wrong_class": "#D55E00",
    "gaussian": "#E69F00",
    "none": "#999999",
}
STYLES = {
    "default": {"width": 7.0, "font_size": 8.0, "font": "DejaVu Sans", "dpi": 200, "colours": COLOURS},
    "print": {"width": 6.75, "font_size": 7.0, "font": "DejaVu Serif", "dpi": 300, "colours": COLOURS},
    "slides": {"width": 10.0, "font_size": 12.0, "font": "DejaVu Sans", "dpi": 150, "colours": COLOURS},
}


def get(name: str) -> dict:
    """A style by name, or a YAML file whose keys replace those of `default`."""
    if name in STYLES:
        return STYLES[name]
    if Path(name).suffix in (".yaml", ".yml") and Path(name).exists():
        given = yaml.safe_load(Path(name).read_text(encoding="utf-8")) or {}
        unknown = set(given) - set(STYLES["default"])
        if unknown:
            raise VpauditError(
                f"style {name}: unknown key {sorted(unknown)[0]!r}", f"known: {', '.join(STYLES['default'])}"
            )
        return {**STYLES["default"], **given, "colours": {**COLOURS, **given.get("colours", {})}}
    raise VpauditError(f"no style {name!r}", f"use {', '.join(STYLES)} or an existing YAML file")


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
        "lines.linewidth": 1.2,
        "figure.constrained_layout.use": True,
        "axes.grid": True,
        "grid.linewidth": 0.3,
        "grid.alpha": 0.6,
    }
