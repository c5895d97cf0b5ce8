"""Formal bounds: pure functions of mu (and of norm, pixels, kappa, ...). `uninformed`: no prior at all; `rero`: all."""
