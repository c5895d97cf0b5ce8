"""What DP-SGD lets out of an image, what a budget means, and what theory allows an adversary at it."""
