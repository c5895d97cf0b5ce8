"""Priors: what the adversary knows of images in general. Each is a `Denoiser`, sigma -> E[x0 | x0 + sigma z]."""

# Noise std at which a prior's card gives its error on held-out images, and an audit compares its own images.
HELD_OUT_SIGMAS = (0.05, 0.1, 0.229, 0.458, 1.145, 2.29, 4.58, 11.45, 22.9, 45.8, 114.5)
