"""The study's figures, drawn from tables alone. Torch is never imported here.

Each figure is a function (Study, style) -> (matplotlib figure, the numbers in it); `render` writes PDF, PNG and CSV.
"""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from vpaudit import io
from vpaudit.errors import VpauditError
from vpaudit.figures import agreement, curves, grid, ladder, style
from vpaudit.figures.study import Study

FIGURES = {
    "reconstructions": grid.draw,
    "metrics_vs_mu": curves.draw,
    "consistency": agreement.draw,
    "prior_ladder": ladder.draw,
}
NAMES = tuple(FIGURES)


def render(name: str, results: Path, out: Path, style_name: str = "default") -> None:
    """Write out/<name>.pdf, .png and .csv; the same tables give the same bytes."""
    if name not in FIGURES:
        raise VpauditError(f"no figure {name!r}", f"known: {', '.join(NAMES)}")
    look = style.get(style_name)
    with plt.rc_context(style.rc(look)):
        figure, table = FIGURES[name](Study(Path(results)), look)
        for kind, metadata in (("pdf", {"CreationDate": None, "ModDate": None}), ("png", {"Software": None})):
            with io.atomic(Path(out) / f"{name}.{kind}") as temporary:
                figure.savefig(temporary, format=kind, metadata=metadata)
        plt.close(figure)
    with io.atomic(Path(out) / f"{name}.csv") as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")
