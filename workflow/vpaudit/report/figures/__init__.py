"""The study's figures, drawn from files under results/<study>/ alone. Torch is never imported here.

Each figure is a function (results folder, style) -> (matplotlib figure, the numbers in it); `render` writes PDF, PNG,
CSV and the caption.
"""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from vpaudit.base import files
from vpaudit.base.errors import VpauditError
from vpaudit.report import captions
from vpaudit.report.figures import agreement, confident, curves, engine, grid, ladder, questions, theory
from vpaudit.report.figures import style as styles
from vpaudit.report.results import Results

KINDS = ("pdf", "png", "csv", "txt")
FIGURES = {
    "reconstructions": grid.draw,
    "metrics_vs_mu": curves.draw,
    "consistency": agreement.draw,
    "prior_ladder": ladder.draw,
}
NAMES = FIGURES  # iterating gives the names
# With those of the experiments, which are no part of the default study.
ALL = FIGURES | engine.FIGURES | questions.FIGURES | confident.FIGURES | theory.FIGURES


def render(name: str, results: Path, out: Path, style: str | dict = "default") -> None:
    """Write out/<name>.pdf, .png, .csv and the caption, .txt; the same tables and commit give the same bytes.

    Args:
        results: results/<study>/.
        style: a name or YAML file known to `vpaudit.figures.style`, or a dict of changes to its default.
    """
    if name not in ALL:
        raise VpauditError(f"no figure {name!r}", f"known: {', '.join(ALL)}")
    look = styles.get(style)
    with plt.rc_context(styles.rc(look)):
        figure, table = ALL[name](Path(results), look)
        try:
            for kind, metadata in (("pdf", {"CreationDate": None, "ModDate": None}), ("png", {"Software": None})):
                with files.atomic(Path(out) / f"{name}.{kind}") as temporary:
                    figure.savefig(temporary, format=kind, metadata=metadata)
        finally:
            plt.close(figure)
    with files.atomic(Path(out) / f"{name}.csv") as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")
    with files.atomic(Path(out) / f"{name}.txt") as temporary:
        temporary.write_text(captions.with_commit(name, Results(Path(results)).config), encoding="utf-8")
