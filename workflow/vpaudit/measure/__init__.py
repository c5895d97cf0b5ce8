"""Metrics of a reconstruction, agreement between samples, and the distance of images from what a prior knows."""
