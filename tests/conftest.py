"""Tests run on one thread: fastest for small arrays, and the same round-off on every machine."""

import os
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"  # for the processes that tests start

ROOT = Path(__file__).parent.parent
# What continuous integration has and must not pass over: a browser, and the real images where they are laid out.
REAL = (ROOT.parent / "shared/data").exists()
NEVER_SKIPPED = {
    "tests/browser": True,
    "tests/workflow/test_real_images.py": REAL,
    "tests/workflow/test_domain_studies.py": REAL,
}
# Files of unit tests that take more than a few seconds: `make check` leaves them out, `make test` runs all.
SLOW = {
    f"test_{name}.py"
    for name in (
        "adversaries", "architecture", "audit", "docs", "experiments", "figures", "hub_data", "local_images",
        "own_training", "prior_choice", "prior_fetch", "recorder", "report", "report_page", "rero", "shipped_prior",
        "train_prior", "training",
    )
}  # fmt: skip


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.name in SLOW:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    """Under CI a test that was skipped although what it needs must be there makes the run fail."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not os.environ.get("CI") or reporter is None:
        return
    skipped = [report.nodeid for report in reporter.stats.get("skipped", ())]
    bad = [name for name in skipped for place, needed in NEVER_SKIPPED.items() if needed and name.startswith(place)]
    if bad:
        reporter.write_line(f"ERROR: skipped, which CI does not allow: {', '.join(bad)}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
