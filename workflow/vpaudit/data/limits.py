"""How large and how small an image may be, and what is raised for one that cannot be used."""

MAX_PIXELS = 89_478_485  # Pillow's own limit, from which on it warns of a decompression bomb
MAX_BYTES = 2**29  # of a file, packed or not
MIN_SIDE = 4


class Unusable(Exception):
    """Why an image cannot be audited; what the reader of a list of skipped files is told."""
