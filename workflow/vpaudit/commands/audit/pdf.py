"""The page on paper: printed by the system's Chromium, or a browser of its family."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from vpaudit.base import files
from vpaudit.base.errors import VpauditError

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge", "chrome")
SECONDS = 120  # a page of 9 MB takes some ten


def browser() -> str:
    """Path of a browser that can print.

    Raises:
        VpauditError: there is none.
    """
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        raise VpauditError(
            f"--pdf needs one of {', '.join(BROWSERS)}, none is on the PATH",
            "install Chromium, or leave --pdf out and print report.html from any browser",
        )
    return found


def write(page: Path, out: Path) -> None:
    """Print an HTML file to a PDF; A4, as the page's style for print has it.

    Raises:
        VpauditError: no browser, or it failed.
    """
    with tempfile.TemporaryDirectory() as profile, files.atomic(out) as temporary:
        command = [browser(), "--headless", "--disable-gpu", "--no-pdf-header-footer", f"--user-data-dir={profile}"]
        command += ["--no-sandbox"] * (os.geteuid() == 0)  # which Chromium refuses root
        command += [f"--print-to-pdf={temporary}", Path(page).absolute().as_uri()]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
        except subprocess.TimeoutExpired as error:
            raise VpauditError(f"{command[0]} took more than {SECONDS} s to print {page}", "try again") from error
        if done.returncode or not Path(temporary).stat().st_size:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise VpauditError(f"{command[0]} could not print {page}: {last}", "print it from a browser by hand")
