"""What conformal calibration promises of pixels on which draws agree: said here, held in `run`, judged in `claims`."""

TOLERANCE = 0.2  # error of a pixel above which calling it real is wrong: a tenth of the range
RATE = 0.05  # of the pixels that are called real, the share that may be wrong
LEVEL = 0.9  # share of images that are within the limit on their error
