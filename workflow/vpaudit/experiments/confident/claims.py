"""What conformal calibration keeps of its guarantee, where a wrong prior breaks it, and of what pixels it speaks."""

import numpy as np
import pandas as pd

from vpaudit.base import stats
from vpaudit.base.labels import LABELS
from vpaudit.measure.believed import RATE
from vpaudit.report.claims import OURS, Claim, course_of, over_mu

OFF = "off by more than a tenth of the range"
CLAIMS = (
    ("unconditional", "Of the pixels called real, no more than the guaranteed share is wrong (ours)", False),
    ("wrong_class", "Under a wrong prior samples agree on what is false: more than that share is wrong (ours)", True),
)


def of(table: pd.DataFrame) -> list[Claim]:
    """The share of called pixels that is wrong, under a right and a wrong prior; and on an image's own content."""
    rows, claims = table[table["among"] == "all"], []
    for prior, text, above in CLAIMS:
        wrong = rows[(rows["prior"] == prior) & (rows["metric"] == "wrong")]
        grid = wrong.pivot_table(index="image", columns="mu", values="value")
        measured = f"share {OFF} of an image's pixels called real (0 if none), against {RATE:g}, largest at µ = {{mu}}"
        claims += over_mu(
            f"conformal_{prior}", text, OURS, measured, course_of(grid.columns, grid.to_numpy()), RATE, above,
            strongest=above, name=f"pixels called real and wrong, {LABELS[prior]}", family="conformal",
        )  # fmt: skip
    course = pd.DataFrame([
        {"mu": mu, **content_wrong(part)} for mu, part in rows[rows["prior"] == CLAIMS[0][0]].groupby("mu")
    ]).dropna()  # fmt: skip
    return claims + over_mu(
        "conformal_content",
        "The guarantee rests on background: of the content called real, more than the guaranteed share is wrong (ours)",
        OURS, f"share {OFF} of the pixels called real on the targets' own content, against {RATE:g}, at µ = {{mu}}",
        course, RATE, True, name="content called real and wrong", family="conformal",
    )  # fmt: skip


def content_wrong(rows: pd.DataFrame) -> dict[str, float]:
    """Of all pixels called real on the targets' content, the share that is wrong: value, low, high, n; NaN if none is.

    Args:
        rows: of one prior, mu and kind of calling.
    """
    wide = rows.pivot_table(index="image", columns="metric", values="value")
    pair = wide[["content_wrong", "content_called"]].to_numpy()
    if not pair[:, 1].any():
        return dict.fromkeys(("value", "low", "high"), float("nan")) | {"n": len(pair)}
    shares = np.clip(stats.ratio(*pair.T), 0, 1)
    return dict(zip(("value", "low", "high"), map(float, shares))) | {"n": len(pair)}
