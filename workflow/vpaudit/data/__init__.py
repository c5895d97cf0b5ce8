"""Images to attack and to train on: cards, verified loading, people's own images, selection, download."""

from vpaudit.data.images import ImageSet
from vpaudit.data.local import MOST, Reading, load_local, read_local, usual_side
from vpaudit.data.read import card, chosen, draw, load, select

__all__ = [
    "MOST", "ImageSet", "Reading", "card", "chosen", "draw", "load", "load_local", "read_local", "select",
    "usual_side",
]  # fmt: skip
