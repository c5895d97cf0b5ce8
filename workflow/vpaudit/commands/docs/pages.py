"""`vpaudit docs`: every generated page of the repository, from one list and one set of templates.

A page is what a template (templates/*.j2) shows of facts. A module of this folder gathers the facts of its pages from
code and recorded tables, so that no number is typed by hand; a test fails when a page is out of date.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jinja2

from vpaudit.base import files, labels
from vpaudit.base.errors import VpauditError
from vpaudit.commands.docs import architecture, claims, config, engine, own_training, pipeline


@dataclass(frozen=True)
class Page:
    """A generated file, or a generated passage of one that is otherwise written by hand.

    Attributes:
        path: from the repository's root, where the command runs.
        template: name of a file in templates/.
        facts: called for the variables of the template, by name.
        between: name of the markers `<!-- NAME:begin -->` and `<!-- NAME:end -->` around the passage; None: all is
            generated.
    """

    path: str
    template: str
    facts: Callable[[], dict]
    between: str | None = None


PAGES = [
    Page("config/config.yaml", "text.j2", config.defaults),
    Page("config/README.md", "config.md.j2", config.keys),
    Page("workflow/schemas/config.schema.json", "text.j2", config.schema),
    Page("dvc.yaml", "dvc.yaml.j2", pipeline.pipeline),
    Page("docs/architecture.md", "architecture.md.j2", architecture.packages),
    Page("README.md", "readme.md.j2", claims.readme, between="findings"),
    Page("docs/replication.md", "replication.md.j2", claims.replication),
    Page("docs/engine.md", "engine.md.j2", engine.page),
    Page("docs/own-training.md", "own-training.md.j2", own_training.attacks, between="attacks"),
    Page("docs/own-training.md", "own-networks.md.j2", own_training.networks, between="networks"),
]


def write(check: bool = False, pages: list[Page] | None = None) -> list[str]:
    """Write the pages that are out of date.

    Args:
        check: write nothing.
        pages: None is all, `PAGES`.

    Returns:
        Paths of the pages that were written.

    Raises:
        VpauditError: pages are out of date (with `check`); this is not the root of a working copy; markers are missing.
    """
    if not Path("Snakefile").exists():
        raise VpauditError("no Snakefile here", "run `vpaudit docs` in the root of a working copy")
    stale = []
    for page in PAGES if pages is None else pages:
        path, text = Path(page.path), render(page)
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(page.path)
        if not check:
            with files.atomic(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
    if check and stale:
        raise VpauditError(f"out of date: {', '.join(stale)}", "run `vpaudit docs`")
    return stale


def render(page: Page) -> str:
    """What the file should hold now."""
    text = _environment().get_template(page.template).render(page.facts())
    if page.between is None:
        return text
    begin, end = (f"<!-- {page.between}:{edge} -->" for edge in ("begin", "end"))
    before, found, rest = Path(page.path).read_text(encoding="utf-8").partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise VpauditError(f"{page.path} lacks the markers {begin} and {end}", "put them around the generated passage")
    return f"{before}{begin}\n{text}{end}{after}"


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"), undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters["number"] = labels.number
    environment.filters["interval"] = lambda row: labels.interval(row["value"], row["low"], row["high"])
    environment.filters["interval_of"] = lambda row, name: labels.interval(
        *(row[column] for column in (name, f"{name}_low", f"{name}_high"))
    )
    return environment
