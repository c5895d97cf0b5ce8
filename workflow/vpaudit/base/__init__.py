"""What every other package stands on: errors, files, randomness, pixels, checks, intervals; and what a prior is."""
