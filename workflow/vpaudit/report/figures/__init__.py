"""The study's figures, drawn from files under results/<study>/ alone. Torch is never imported here.

Each figure is a function (results folder, style) -> (matplotlib figure, the numbers in it); `write` makes PDF, PNG,
CSV and the caption of it, of an experiment's figure too. What draws is imported when something is drawn: the rules ask
here for names, in every run of Snakemake.
"""

import importlib
from collections.abc import Callable
from pathlib import Path

from vpaudit.base import files
from vpaudit.base.errors import VpauditError

KINDS = ("pdf", "png", "csv", "txt")
FIGURES = {  # name: module of this package whose `draw` draws it
    "reconstructions": "grid",
    "metrics_vs_mu": "curves",
    "success": "success",
    "visual_mu": "visual_mu",
    "consistency": "agreement",
    "prior_ladder": "ladder",
}
NAMES = FIGURES  # iterating gives the names
Draw = Callable[[Path, dict], tuple]


def drawing(name: str) -> Draw:
    """The function that draws a figure of the paper's study."""
    if name not in FIGURES:
        raise VpauditError(f"no figure {name!r}", f"known: {', '.join(FIGURES)}")
    return importlib.import_module(f"{__name__}.{FIGURES[name]}").draw


def render(name: str, results: Path, out: Path, style: str | dict = "default") -> None:
    """Draw a figure of the paper's study into out/; see `write`.

    Args:
        results: results/<study>/.
    """
    from vpaudit.report import captions
    from vpaudit.report.results import Results

    draw, results = drawing(name), Path(results)
    write(name, draw, captions.text(name, Results(results).config), results, out, style)


def write(name: str, draw: Draw, caption: str, results: Path, out: Path, style: str | dict = "default") -> None:
    """Write out/<name>.pdf, .png, .csv and the caption, .txt; the same tables and commit give the same bytes.

    Args:
        style: a name or YAML file known to `vpaudit.figures.style`, or a dict of changes to its default.
    """
    import matplotlib.pyplot as plt

    from vpaudit.report.figures import style as styles

    look = styles.get(style)
    with plt.rc_context(styles.rc(look)):
        figure, table = draw(results, look)
        try:
            for kind, metadata in (("pdf", {"CreationDate": None, "ModDate": None}), ("png", {"Software": None})):
                with files.atomic(Path(out) / f"{name}.{kind}") as temporary:
                    figure.savefig(temporary, format=kind, metadata=metadata)
        finally:
            plt.close(figure)
    with files.atomic(Path(out) / f"{name}.csv") as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")
    with files.atomic(Path(out) / f"{name}.txt") as temporary:
        temporary.write_text(f"{caption}\n", encoding="utf-8")
