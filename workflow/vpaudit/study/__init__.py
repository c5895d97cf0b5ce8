"""A study: its configuration, where its files are, how it is cut into jobs, what its stages depend on."""
