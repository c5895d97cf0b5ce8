"""Tables for papers, in LaTeX with booktabs: every metric of every attack over mu, and the paper's claims.

Each file holds one `tabular`, to be \\input inside a table; captions are beside them as text.
"""

import pandas as pd

from vpaudit.base import stats
from vpaudit.base.labels import LABELS, METRICS, number, power
from vpaudit.report.results import ATTACKS, Results, curve_of

BOUNDS = (("uninformed", "uninformed adversary"), ("rero", "ReRo"))
NAMES = ("metrics", "claims")  # of the files
SPECIAL = {"\\": r"\textbackslash{}"} | {c: f"\\{c}" for c in "&%$#_{}"} | {"~": r"\textasciitilde{}", "^": r"\^{}"}
SYMBOLS = {
    "µ": r"$\mu$",
    "γ": r"$\gamma$",
    "×": r"$\times$",
    "ε": r"$\varepsilon$",
    "δ": r"$\delta$",
    "σ": r"$\sigma$",
    "≤": r"$\leq$",
    "–": "--",
}


def escape(text: str) -> str:
    """Text as LaTeX prints it, Greek letters included."""
    return "".join(SYMBOLS.get(c, SPECIAL.get(c, c)) for c in text)


def tabular(columns: str, head: list[list[str]], groups: list[list[list[str]]]) -> str:
    """A tabular with booktabs' rules; a rule between groups; cells are LaTeX already."""
    lines = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", *map(_row, head)]
    for group in groups:
        lines += [r"\midrule", *map(_row, group)]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _row(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"


def metrics(study: Results) -> str:
    """Rows: attacks, unrelated images and bounds, a group a metric; columns: mu, with epsilon; intervals below."""
    delta = power(study.config["mechanism"]["delta"])
    exponent = delta[2:].translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789"))
    delta = f"$10^{{{exponent}}}$" if delta.startswith("10") else delta
    head = [
        [r"$\mu = C/\sigma$", *(f"{mu:g}" for mu in study.mu)],
        [rf"$\varepsilon$ at $\delta =$ {delta}", *(number(study.epsilon(mu)) for mu in study.mu)],
    ]
    groups = []
    for metric in [m for m in METRICS if m in set(study.metrics["metric"])]:
        arrow = r"$\uparrow$" if METRICS[metric].higher_is_better else r"$\downarrow$"
        group = [[rf"\textbf{{{escape(METRICS[metric].label)}}} {arrow}", *[""] * len(study.mu)]]
        for pair in ATTACKS:
            group += _pair(LABELS[pair[1]], study.curve(*pair, metric), study.mu)
        value, low, high = (float(v) for v in stats.bootstrap(study.unrelated(metric).to_numpy()))
        same = pd.DataFrame({"mu": study.mu, "value": value, "low": low, "high": high})
        group += _pair("unrelated test images", same, study.mu)
        group += _pair("DDIM, other targets", curve_of(study.others("ddim", metric)), study.mu)
        for name, label in BOUNDS:
            group += _pair(label, study.bound(name, metric), study.mu, interval=False)
        groups.append(group)
    return tabular("l" + "r" * len(study.mu), head, groups)


def _pair(label: str, curve: pd.DataFrame, mu: list[float], interval: bool = True) -> list[list[str]]:
    """A row of values and, below it, one of intervals; nothing where the study did not run it."""
    if curve.empty:
        return []
    rows = curve.set_index("mu").reindex(mu)
    found = [[escape(label), *("--" if pd.isna(v) else _number(v) for v in rows["value"])]]
    if interval:
        pairs = zip(rows["low"], rows["high"])
        cells = ["" if pd.isna(a) else rf"{{\tiny [{_number(a)}, {_number(b)}]}}" for a, b in pairs]
        found.append(["", *cells])
    return found


def _number(value: float) -> str:
    return "$<$0.0001" if 0 < value < 1e-4 else number(value).replace("-", "$-$")


def claims(summary: dict) -> str:
    """Claim, value with interval, n, verdict."""
    rows = []
    for claim in summary["claims"]:
        value = "--"
        if claim["value"] is not None:
            value = f"{claim['value']:.3g} [{claim['low']:.3g}, {claim['high']:.3g}]".replace("-", "$-$")
        rows.append([escape(claim["claim"]), value, str(claim["n"]), claim["verdict"]])
    return tabular("p{0.52\\linewidth}lrl", [["claim", r"value [95\,\%]", "$n$", "verdict"]], [rows])
