"""The package of further priors is built from resources/ of this repository."""

import sys
from pathlib import Path

from setuptools import setup

sys.path.insert(0, str(Path(__file__).parents[1]))

from carry import carrying, places

setup(cmdclass={"build_py": carrying(places.MORE_PRIORS, "vpaudit_priors")})
