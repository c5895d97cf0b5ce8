"""A build step that carries files of the repository, which lie outside of any Python package, in a wheel."""

import sys
from pathlib import Path

from setuptools.command.build_py import build_py

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "workflow"))

from vpaudit.base import places  # noqa: E402


def carrying(parts: tuple[str, ...], folder: str) -> type[build_py]:
    """A build_py that copies these parts of the repository to `folder` in the wheel; an editable install needs none."""

    class Carrying(build_py):
        def run(self):
            super().run()
            if not self.editable_mode:
                for path in places.files_of(ROOT, parts):
                    target = Path(self.build_lib) / folder / path.relative_to(ROOT)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    self.copy_file(str(path), str(target))

    return Carrying
