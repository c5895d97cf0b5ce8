"""`vpaudit audit`: people's own images and training set-up through the graph of the studies."""
