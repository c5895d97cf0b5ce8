"""Samplers from noise to image: general ones, and few-step solvers fitted to a prior."""
