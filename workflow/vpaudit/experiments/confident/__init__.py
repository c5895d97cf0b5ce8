"""What conformal calibration promises of samples that agree: held in `run`, judged in `claims`."""

LEVEL = 0.9  # share of images that are within the limit on their error
