"""What pyproject.toml cannot say: the wheel carries the workflow with the priors of the default study."""

import sys
from pathlib import Path

from setuptools import setup

sys.path.insert(0, str(Path(__file__).parent / "packaging"))

from carry import carrying, places

setup(cmdclass={"build_py": carrying(places.WORKFLOW, "vpaudit/_workflow")})
