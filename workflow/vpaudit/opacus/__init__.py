"""Your own training by Opacus: what it releases, recorded; how much of an image this network leaks; an attack on it."""

from vpaudit.opacus.recorder import Recorder
from vpaudit.opacus.records import Run

__all__ = ["Recorder", "Run"]
