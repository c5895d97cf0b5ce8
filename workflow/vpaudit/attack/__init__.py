"""The adversary: what it knows, and what it makes of one or several releases, of gradients, of candidates."""
