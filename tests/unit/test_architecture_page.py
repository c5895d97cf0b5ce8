"""docs/architecture.md: its picture leaves out only arrows that others imply, and its files exist."""

import re

from vpaudit.commands.docs import architecture
from vpaudit.study import depends


def test_an_arrow_that_a_chain_implies_is_left_out():
    chain = {("a", "b"), ("b", "c"), ("c", "d")}
    assert architecture._reduced(chain | {("a", "c"), ("a", "d"), ("b", "d")}) == sorted(chain)
    fork = {("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")}
    assert architecture._reduced(fork | {("a", "d")}) == sorted(fork)


def test_every_file_that_the_page_names_is_there(root):
    """But for generated and shipped files, a path on the page is below workflow/vpaudit."""
    text = (root / "docs/architecture.md").read_text()
    named = set(re.findall(r"`([a-z_]+/[a-z_/]+\.(?:py|yaml|md))`", text))
    assert len(named) > 20
    assert not [name for name in named if not ((depends.PACKAGE / name).exists() or (root / name).exists())]
