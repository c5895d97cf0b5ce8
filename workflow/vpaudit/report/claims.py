"""A claim, what was measured of it, and the rules by which it is judged."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from vpaudit.base import stats

OURS, LEFT_OPEN = "not in the paper", "left open"


@dataclass
class Claim:
    """One claim: value with its 95 % interval over n images, a verdict, and the same by mu where it has a course.

    Attributes:
        id: of the page's anchor and of comparisons between studies.
        name: the claim in a few words, for tables; claim: in a sentence; measured: what `value` is.
        family: what claims of several metrics have in common: "visual_mu"; metric, baseline, attack: what the claim is
            about, as the tables name it; "" where it is about none.
    """

    id: str
    claim: str
    paper: str
    measured: str
    value: float
    low: float
    high: float
    n: int
    verdict: str
    note: str = ""
    by_mu: list[dict] = field(default_factory=list)
    name: str = ""
    family: str = ""
    metric: str = ""
    baseline: str = ""
    attack: str = ""


def judge(course: pd.DataFrame, limit: float, above: bool) -> tuple[int, str, str]:
    """The one rule for a claim that must hold at every mu: value above (or below) a limit.

    Args:
        course: mu, value, low, high by mu.

    Returns:
        Place of the weakest interval; verdict: confirmed if every interval clears the limit, not confirmed if the other
        side is shown at some mu (Holm's correction over the grid), confirmed with a caveat if the intervals clear the
        limit over at least half of the range of log mu, else inconclusive; and the caveat.
    """
    room = (course["low"] - limit if above else limit - course["high"]).to_numpy()
    against = stats.contradicted(course["value"], course["low"], course["high"], limit, above)
    weakest, holds = int(np.argmin(room)), room > 0
    if holds.all():
        return weakest, "confirmed", ""
    if against.any():
        where = ", ".join(f"{mu:g}" for mu in course["mu"][against])
        return weakest, "not confirmed", f"Contradicted at µ = {where}."
    where = ", ".join(f"{mu:g}" for mu in course["mu"][~holds])
    verdict = "confirmed with a caveat" if stats.share_of_range(course["mu"], holds) >= 0.5 else "inconclusive"
    return weakest, verdict, f"Open at µ = {where}, where the interval includes the limit."


def over_mu(
    id_: str,
    claim: str,
    paper: str,
    measured: str,
    course: pd.DataFrame,
    limit: float,
    above: bool,
    *,
    note: str = "",
    strongest: bool = False,
    **about: str,
) -> list[Claim]:
    """A list of one claim about every mu (none if the study did not run it).

    Args:
        measured: text in which {mu} is the mu of the value shown: the weakest, or (strongest) the clearest one.
        course, limit, above: as in `judge`.
        about: name, family, metric, baseline, attack of the claim.
    """
    if course.empty:
        return []
    at, verdict, caveat = judge(course, limit, above)
    if strongest:
        at = int(course["value"].argmax() if above else course["value"].argmin())
    row, text = course.iloc[at], " ".join(filter(None, (caveat, note)))
    numbers = (row["value"], row["low"], row["high"], int(course["n"].iloc[0]))
    by_mu = course[["mu", "value", "low", "high"]].to_dict("records")
    return [Claim(id_, claim, paper, measured.format(mu=f"{row['mu']:g}"), *numbers, verdict, text, by_mu, **about)]


def course_of(mu, values: np.ndarray) -> pd.DataFrame:
    """mu, value, low, high, n from (images, mu) values."""
    value, low, high = stats.bootstrap(values)
    return pd.DataFrame({"mu": mu, "value": value, "low": low, "high": high, "n": len(values)})
