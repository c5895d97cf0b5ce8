"""Facts of README's findings and of docs/replication.md, from summary.json and recorded tables."""

from functools import partial
from pathlib import Path

import pandas as pd

from vpaudit.base import files, stats
from vpaudit.base.errors import VpauditError
from vpaudit.experiments import catalog

SUMMARY = Path("results/embedded/summary.json")
DOMAINS = Path("results/domains")
GROUPS = {  # families of claims under the headings of docs/replication.md; others are open questions
    "Bounds": ("beats_uninformed", "within_theorem", "told_lambda"),
    "Success over µ": ("visual_mu", "grows_with_mu", "end_of_success"),
    "Samplers": ("ddim_below_ddpm",),
    "Agreement of posterior samples": ("agreement_predicts", "agreement_beats_statistics", "conformal"),
    "Prior": ("prior",),
}
OPEN = "Open questions"


def readme() -> dict:
    """README's findings: the study, `found` for a sentence's claim, `end` of reconstruction, the real domains."""
    summary = files.read_json(SUMMARY)
    return {"summary": summary, "found": partial(found, summary["claims"]), "end": end, "domains": domains(DOMAINS)}


def end(claim: dict, margin: float) -> float:
    """The largest mu up to which less than `margin` of the distance between images is shown to be recovered."""
    course = pd.DataFrame(claim["by_mu"])
    return stats.end_of_reconstruction(course["mu"], course["upper"], margin)


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
    """docs/replication.md: the embedded study, studies of real domains where they are on record, what is left open."""
    summary = files.read_json(SUMMARY)
    facts = {"groups": grouped(summary["claims"]), "left_open": _left_open(), "domains": domains(DOMAINS)}
    return {"summary": summary, **facts}


def domains(folder: Path) -> dict:
    """What `vpaudit domains` wrote: `studies`, `endings`, and `claims` as rows of a name and a claim by study."""
    if not (folder / "claims.csv").exists():
        return {}
    studies, endings, claims = (pd.read_csv(folder / f"{name}.csv") for name in ("studies", "endings", "claims"))
    claims = claims.astype(object).where(claims.notna(), None)
    rows = {
        name: {row["study"]: row for row in part.to_dict("records")}
        for name, part in claims.groupby("name", sort=False)
    }
    margins = endings.pivot_table(index=["study", "metric"], columns="margin", values="mu", sort=False, dropna=False)
    at_5 = endings.rename(columns={"at_5": "value"}).drop_duplicates(["study", "metric"]).set_index(["study", "metric"])
    at_5 = at_5.to_dict("index")
    found = {"studies": studies.to_dict("records"), "claims": rows, "margins": margins, "at_5": at_5}
    return found | {"recognised": _recognised(folder / "recognition.csv")}


def _recognised(path: Path) -> list[dict]:
    """A row a study and question, by MSE or classes; `of`: by attack what `report.recognition.ends` says of it."""
    if not path.exists():
        return []
    table = pd.read_csv(path).rename(columns={"at_5": "value"}).query("metric != 'lpips'")
    return [
        {"study": study, "among": among, "n": n, "of": rows.set_index("attack").to_dict("index")}
        for (study, among, n), rows in table.groupby(["study", "among", "n"], sort=False)
    ]


def grouped(claims: list[dict]) -> dict[str, list[dict]]:
    """Claims under the headings of `GROUPS`, in their order; headings without a claim are left out."""
    group_of = {family: title for title, families in GROUPS.items() for family in families}
    groups = {title: [c for c in claims if group_of.get(c.get("family"), OPEN) == title] for title in (*GROUPS, OPEN)}
    return {title: members for title, members in groups.items() if members}


def _left_open() -> dict:
    """What the fuller experiments say on questions that the paper leaves open."""
    sources, claims, remarks = [], [], []
    for name, about in catalog.cards().items():
        path = Path("results") / (about.record or "embedded") / "experiments" / f"{name}.parquet"
        if not (about.has_claims and path.exists()):
            continue
        table, module = pd.read_parquet(path), catalog.module(name, "claims")
        sources.append(str(path))
        claims += map(vars, module.of(table))
        remarks += [module.remarks(table)] if hasattr(module, "remarks") else []
    return {"sources": sources, "claims": claims, "remarks": remarks}
