"""The study as one self-contained page for someone who is not a privacy expert. Every number comes from the tables.

../words.py makes the sentences, sprites.py the images, explorer.py the data that follow the slider, static.py the rest.
"""

from collections import Counter
from pathlib import Path

import jinja2

from vpaudit.base import files, stats
from vpaudit.base.labels import METRICS, power
from vpaudit.report import captions, words
from vpaudit.report.page import explorer, sprites, static
from vpaudit.report.results import Results


def build(results: Path, figures: Path, out: Path, redact: bool = False) -> None:
    """Write the page; the same tables, arrays and figures give the same bytes.

    Args:
        results, figures: results/<study>/ and figures/<study>/ as the stages before left them.
        out: the HTML file; only its owner may read it if the images are the user's own.
        redact: metrics instead of images.
    """
    study, summary = Results(Path(results)), files.read_json(Path(results) / "summary.json")
    text = (
        _environment()
        .get_template("template.html")
        .render(**_moving(study, summary, redact), **_still(study, summary, Path(figures), redact))
    )
    with files.atomic(out, private=study.local) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["known"] = static.known
    return environment


def _moving(study: Results, summary: dict, redact: bool) -> dict:
    """What the slider moves."""
    outputs, levels = sprites.rows(study), words.audit(study, summary)
    shown = None if redact else sprites.build(study, outputs)
    with study.arrays("targets") as file:
        places = sprites.pick(file["labels"]) if redact else shown.places
    data = explorer.data(study, outputs, places, shown, levels)
    return {
        "data": data,
        "json": explorer.text(data),
        "sprites": shown,
        "outputs": outputs,
        "audit": levels,
        "colours": explorer.colours(),
        "spread": {"top": sprites.SPREAD, "colours": explorer.legend()},
    }


def _still(study: Results, summary: dict, figures: Path, redact: bool) -> dict:
    """What the page shows without a script."""
    here, private, run = Path(__file__).parent, study.local, files.read_json(study.folder / "run.json")
    names = [n for n in captions.drawn(study.config) if n != static.GRID or not (redact or private)]
    return {
        "style": (here / "style.css").read_text(encoding="utf-8"),
        "script": "".join((here / name).read_text(encoding="utf-8") for name in ("chart.js", "page.js")),
        "redact": redact,
        "private": private,
        "study": study,
        "images": words.images(study.config),
        "delta": power(study.config["mechanism"]["delta"]),
        "summary": summary,
        "run": run,
        "config": study.config,
        "settings": static.settings(study.config),
        "found": Counter(claim["verdict"] for claim in summary["claims"]).most_common(),
        "plain": words.plain_words(study),
        "guess": words.best_guess(study),
        "knowledge": words.knowledge(study),
        "prior_data": words.titled(summary["prior"]["data"] or "") or None,
        "widest": words.widest(study),
        "resamples": stats.RESAMPLES,
        "levels": static.levels(study),
        "steps": [f"{step:.0%}".replace("%", " %") for step in words.STEPS],
        "values": [static.values(study, metric) for metric in study.measured],
        "figures": [static.figure(name, figures, study) for name in names],
        "claims": [static.verdict(claim) for claim in summary["claims"]],
        "missing": [METRICS[m].label for m in study.missing],
        "wall": [(stage, static.duration(seconds)) for stage, seconds in run["wall_time"].items()],
    }
