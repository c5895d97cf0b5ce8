"""The chance of naming the image among n, and its class, over mu; with guessing and the bound."""

from vpaudit.report import recognition
from vpaudit.report.figures.panels import read


def draw(results, style: dict):
    table = read(results, "experiments/recognition")
    found = recognition.shares(table)
    return recognition.draw(found.assign(study=""), style), recognition.numbers(found, table)
