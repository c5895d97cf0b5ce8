"""Images to attack and to train on: cards, verified loading, selection, download."""

from vpaudit.data.local import load_local
from vpaudit.data.read import ImageSet, card, load, select

__all__ = ["ImageSet", "card", "load", "load_local", "select"]
