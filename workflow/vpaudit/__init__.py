"""Visual privacy auditing with diffusion models.

data -> privatize -> reconstruct -> evaluate -> consistency, bounds -> figures -> report
"""

__version__ = "0.1.0"
