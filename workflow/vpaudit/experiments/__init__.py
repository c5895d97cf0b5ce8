"""Experiments on the attack engine, beyond the paper's study: a folder each, on the study's own images and prior.

Adding one touches nothing outside its folder (docs/extending.md). Folders are looked for here and in those that the
environment variable VPAUDIT_EXPERIMENTS names, separated as in PATH.
"""

import os

__path__ += [
    os.path.abspath(folder) for folder in os.environ.get("VPAUDIT_EXPERIMENTS", "").split(os.pathsep) if folder
]
