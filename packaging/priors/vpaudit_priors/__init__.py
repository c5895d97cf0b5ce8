"""Further diffusion priors for vpaudit, in resources/priors; vpaudit finds them when this package is installed."""
