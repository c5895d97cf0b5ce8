"""Priors: what the adversary knows of images in general. Each is a `Denoiser`, sigma -> E[x0 | x0 + sigma z]."""
