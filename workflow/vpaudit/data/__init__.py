"""Images to attack and to train on: cards, verified loading, selection, download."""

from vpaudit.data.read import ImageSet, card, load, load_folder, select

__all__ = ["ImageSet", "card", "load", "load_folder", "select"]
