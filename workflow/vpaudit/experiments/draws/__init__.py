"""What conformal calibration promises of an image's draws: said here, held in `run`, judged in `claims`."""

TOLERANCE = 0.2  # error of a pixel above which calling it real is wrong: a tenth of the range
RATE = 0.05  # share of an image's pixels that may be called real and be wrong
LEVEL = 0.9  # share of images that are within the limit on their error
