"""Tables for papers, in LaTeX with booktabs: every metric of every attack over mu, and the paper's claims.

Each file holds one `tabular`, to be \\input inside a table; captions are beside them as text.
"""

import pandas as pd

from vpaudit.base.labels import LABELS, METRICS, interval, number, power
from vpaudit.report.results import BOUNDS, Results

NAMES = ("metrics", "claims")  # of the files
SPECIAL = {"\\": r"\textbackslash{}"} | {c: f"\\{c}" for c in "&%$#_{}"} | {"~": r"\textasciitilde{}", "^": r"\^{}"}
SYMBOLS = {
    "µ": r"$\mu$",
    "γ": r"$\gamma$",
    "×": r"$\times$",
    "ε": r"$\varepsilon$",
    "δ": r"$\delta$",
    "σ": r"$\sigma$",
    "λ": r"$\lambda$",
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
        for name, curve in study.compared(metric).groupby("look", sort=False):
            group += _pair(LABELS[name], curve, study.mu, name not in BOUNDS)
        groups.append(group)
    return tabular("l" + "r" * len(study.mu), head, groups)


def _pair(label: str, curve: pd.DataFrame, mu: list[float], intervals: bool) -> list[list[str]]:
    """A row of values and, if wanted, one of intervals below it."""
    rows = curve.set_index("mu").reindex(mu)
    found = [[escape(label), *("--" if pd.isna(v) else _number(v) for v in rows["value"])]]
    if intervals:
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
        value = interval(claim["value"], claim["low"], claim["high"]).replace("-", "$-$").replace("–", "--")
        rows.append([escape(claim["claim"]), value, str(claim["n"]), claim["verdict"]])
    return tabular("p{0.52\\linewidth}lrl", [["claim", r"value [95\,\%]", "$n$", "verdict"]], [rows])
