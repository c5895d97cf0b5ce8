"""Checks of numeric arguments, in one place. Each names the parameter and the value, and gives the way out.

Every validator takes keywords, accepts scalars and arrays, and returns them as float64 arrays in the order given (one
array for one keyword), so that a formula begins with `s, pixels = positive(s=s, pixels=pixels)`.
"""

import numpy as np

from vpaudit.base.errors import VpauditError


def positive(**values):
    """Finite and > 0."""
    return _check(values, lambda v: v > 0, "must be > 0", "give a positive, finite {name}")


def non_negative(**values):
    """Finite and >= 0."""
    return _check(values, lambda v: v >= 0, "must be >= 0", "give {name} = 0 or more, finite")


def probability(**values):
    """Strictly between 0 and 1."""
    return _check(values, lambda v: (v > 0) & (v < 1), "must lie in (0, 1)", "give {name} strictly between 0 and 1")


def closed_probability(**values):
    """In [0, 1], both ends allowed."""
    return _check(values, lambda v: (v >= 0) & (v <= 1), "must lie in [0, 1]", "give {name} from 0 to 1")


def share(**values):
    """In (0, 1]: a sampling rate."""
    return _check(values, lambda v: (v > 0) & (v <= 1), "must lie in (0, 1]", "give {name} above 0, at most 1")


def whole(minimum: int = 1, **values):
    """A whole number, at least `minimum`."""
    return _check(
        values,
        lambda v: (v >= minimum) & (v == np.floor(v)),
        f"must be a whole number >= {minimum}",
        f"give {{name}} = {minimum} or a larger whole number",
    )


def within(low: float, high: float, hint: str = "", **values):
    """In [low, high]: the range in which a computation is known to be right."""
    hint = hint or f"give {{name}} from {low:g} to {high:g}, the range in which the result is verified"
    return _check(values, lambda v: (v >= low) & (v <= high), f"must lie in [{low:g}, {high:g}]", hint)


def finite(**values):
    """Any finite number."""
    return _check(values, lambda v: np.full(np.shape(v), True), "must be finite", "give a finite {name}")


def _check(values: dict, accept, rule: str, hint: str):
    arrays = []
    for name, value in values.items():
        try:
            array = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise VpauditError(f"{name}={value!r} is not a number", hint.format(name=name)) from error
        bad = ~(np.isfinite(array) & accept(array))
        if bad.any():
            raise VpauditError(f"{name}={array[bad].flat[0]:.9g} {rule}", hint.format(name=name))
        arrays.append(array)
    return arrays[0] if len(arrays) == 1 else arrays
