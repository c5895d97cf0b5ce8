"""Images to attack and to train on: cards, verified loading, people's own images, selection, download."""

from vpaudit.data.local import Reading, load_local, read_local
from vpaudit.data.read import ImageSet, card, load, select

__all__ = ["ImageSet", "Reading", "card", "load", "load_local", "read_local", "select"]
