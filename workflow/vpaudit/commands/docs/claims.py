"""Facts of README's findings and of docs/replication.md, from summary.json and recorded tables."""

from functools import partial
from pathlib import Path

import pandas as pd

from vpaudit.base import files, stats
from vpaudit.base.errors import VpauditError
from vpaudit.experiments import open_questions
from vpaudit.experiments.dpsgd.run import TRIES

# Fuller experiments on what the paper leaves open, where they are on record.
RECORDS = {
    "draws": Path("results/embedded/experiments/draws.parquet"),
    "dpsgd": Path("results/dpsgd/experiments/dpsgd.parquet"),
}
SUMMARY = Path("results/embedded/summary.json")
CIFAR10 = Path("results/cifar10/summary.json"), Path("resources/priors/cifar10_unet/card.json")
GROUPS = {  # families of claims under the headings of docs/replication.md; others are open questions
    "Bounds": ("beats_uninformed", "below_rero"),
    "Success over µ": ("grows_with_mu", "end_of_success"),
    "Samplers": ("ddim_below_ddpm",),
    "Agreement of posterior samples": ("agreement_predicts", "agreement_beats_statistics", "conformal"),
    "Prior": ("prior",),
}
OPEN = "Open questions"


def readme() -> dict:
    """README's findings: the study, and `found` for the claim that a sentence is about."""
    summary = files.read_json(SUMMARY)
    return {"summary": summary, "found": partial(found, summary["claims"])}


def found(claims: list[dict], id_: str, verdict: str) -> dict:
    """A claim by its id.

    Raises:
        VpauditError: the verdict is another one, so that the sentence which asks for this one would be false.
    """
    claim = next((claim for claim in claims if claim["id"] == id_), None)
    if claim is None or claim["verdict"] != verdict:
        now = "absent" if claim is None else claim["verdict"]
        raise VpauditError(f"the claim {id_} is {now}, not {verdict}", "write what is so into templates/readme.md.j2")
    return claim


def replication() -> dict:
    """docs/replication.md: the embedded study, what is left open, and the study of CIFAR-10 where it is on record."""
    summary = files.read_json(SUMMARY)
    cifar10 = [files.read_json(path) for path in CIFAR10] if all(path.exists() for path in CIFAR10) else None
    return {"summary": summary, "groups": grouped(summary["claims"]), "cifar10": cifar10, "left_open": _left_open()}


def grouped(claims: list[dict]) -> dict[str, list[dict]]:
    """Claims under the headings of `GROUPS`, in their order; headings without a claim are left out."""
    group_of = {family: title for title, families in GROUPS.items() for family in families}
    groups = {title: [c for c in claims if group_of.get(c.get("family"), OPEN) == title] for title in (*GROUPS, OPEN)}
    return {title: members for title, members in groups.items() if members}


def _left_open() -> dict:
    """What the fuller experiments say on questions that the paper leaves open."""
    tables = {name: pd.read_parquet(path) for name, path in RECORDS.items() if path.exists()}
    return {
        "sources": [str(RECORDS[name]) for name in tables],
        "claims": [vars(claim) for claim in open_questions.of_tables(tables)],
        "remarks": [_denoising(tables["dpsgd"])] if "dpsgd" in tables else [],
    }


def _denoising(table: pd.DataFrame) -> str:
    """Where denoised gradients help and where they hurt, and what they cost, in a paragraph."""
    keys = ["model", "method", "public", "epsilon"]
    gains, cells = open_questions.gains_over_plain(table), {"above": [], "below": [], "open": []}
    for (model, method, public, epsilon), rows in gains.groupby(keys, sort=False):
        mean, low, high, _ = stats.t_interval(rows["gain"].to_numpy())
        public = "" if public == "none" else f", public data {public}"
        text = f"{method}{public}, {model}, ε = {epsilon:g}: {100 * mean:+.1f} [{100 * low:.1f}, {100 * high:.1f}]"
        cells["above" if low > 0 else "below" if high < 0 else "open"].append(text)
    plain = table[table["method"] == "plain"].groupby(["model", "epsilon"])["seconds"].median().rename("usual")
    costs = gains.join(plain, on=["model", "epsilon"])
    costs = (costs["seconds"] / costs["usual"]).groupby(costs["method"], sort=False).median()
    at_edge = []
    for method, rows in table.drop_duplicates(keys).groupby("method", sort=False):
        rates = sorted({options["lr"] for options in TRIES[method]})
        at_edge.append(f"{method} {rows['lr'].isin([rates[0], rates[-1]]).sum()} of {len(rows)}")
    count = sum(map(len, cells.values()))
    return (
        f"**Does it help to denoise gradients?** Of {count} cells (filter, model, ε; {table['seed'].nunique()} seeds, "
        f"no correction for their number: some {0.025 * count:.0f} would stand out on either side by chance) "
        f"{len(cells['above'])} gain, {len(cells['below'])} lose and {len(cells['open'])} stay open. Gains, in points: "
        f"{'; '.join(cells['above']) or 'none'}. Tuning: {len(TRIES['plain'])} runs a filter, model and ε, for plain "
        f"DP-SGD as for the others; the best learning rate lay at an end of its grid for {', '.join(at_edge)}, where a "
        "wider grid might do better. Time of a run over plain DP-SGD's, median (on record from a machine that other "
        "jobs shared, Kalman's most): " + ", ".join(f"{name} {ratio:.2g}" for name, ratio in costs.items()) + ".\n"
    )
