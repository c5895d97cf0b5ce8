"""The one error a user is meant to read: what is wrong, where, and the way out."""


class VpauditError(Exception):
    """A failure that the user can fix.

    Args:
        message: what is wrong; names the value and the place.
        hint: the way out, one sentence; printed on a line of its own.
    """

    def __init__(self, message: str, hint: str = ""):
        super().__init__(message)
        self.message, self.hint = message, hint

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message
