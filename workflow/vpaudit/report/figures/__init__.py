"""The study's figures, drawn from files under results/<study>/ alone. Torch is never imported here.

Each figure is a function (results folder, style) -> (matplotlib figure, the numbers in it); `write` makes PDF, PNG,
CSV and the caption of it, of an experiment's figure too.
"""

from collections.abc import Callable
from pathlib import Path

import matplotlib
import pandas as pd

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from vpaudit.base import files
from vpaudit.base.errors import VpauditError
from vpaudit.report import captions
from vpaudit.report.figures import agreement, curves, grid, ladder, success, visual_mu
from vpaudit.report.figures import style as styles
from vpaudit.report.results import Results

KINDS = ("pdf", "png", "csv", "txt")
FIGURES = {
    "reconstructions": grid.draw,
    "metrics_vs_mu": curves.draw,
    "success": success.draw,
    "visual_mu": visual_mu.draw,
    "consistency": agreement.draw,
    "prior_ladder": ladder.draw,
}
NAMES = FIGURES  # iterating gives the names
Draw = Callable[[Path, dict], tuple[Figure, pd.DataFrame]]


def render(name: str, results: Path, out: Path, style: str | dict = "default") -> None:
    """Draw a figure of the paper's study into out/; see `write`.

    Args:
        results: results/<study>/.
    """
    if name not in FIGURES:
        raise VpauditError(f"no figure {name!r}", f"known: {', '.join(FIGURES)}")
    results = Path(results)
    write(name, FIGURES[name], captions.text(name, Results(results).config), results, out, style)


def write(name: str, draw: Draw, caption: str, results: Path, out: Path, style: str | dict = "default") -> None:
    """Write out/<name>.pdf, .png, .csv and the caption, .txt; the same tables and commit give the same bytes.

    Args:
        style: a name or YAML file known to `vpaudit.figures.style`, or a dict of changes to its default.
    """
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
