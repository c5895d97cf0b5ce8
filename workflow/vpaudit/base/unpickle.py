"""Pickled numpy arrays of other people, read by an unpickler that admits numpy and nothing else."""

import pickle

from vpaudit.base.errors import VpauditError


class _NumpyOnly(pickle.Unpickler):
    ALLOWED = frozenset({"_reconstruct", "ndarray", "dtype", "_frombuffer", "scalar"})

    def find_class(self, module, name):
        if module.split(".")[0] == "numpy" and name in self.ALLOWED:
            return super().find_class(module.replace("numpy.core", "numpy._core"), name)
        raise VpauditError(f"refused to unpickle {module}.{name}", "the weight file holds more than numpy arrays")


def read_pickle(source) -> dict:
    """A pickled dict of numpy arrays, from a path or an open file; anything else inside is refused."""
    if hasattr(source, "read"):
        return _NumpyOnly(source, encoding="latin1").load()
    with open(source, "rb") as file:
        return _NumpyOnly(file).load()
