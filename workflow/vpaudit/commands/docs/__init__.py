"""Documents written from code and tables: configuration, claims, the attack engine."""
