"""Images to attack and to train on: cards, verified loading, selection, download."""

from vpaudit.data.local import load_local
from vpaudit.data.read import ImageSet, card, chosen, draw, load, select

__all__ = ["ImageSet", "card", "chosen", "draw", "load", "load_local", "select"]
