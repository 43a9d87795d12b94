"""The one error of the data room."""


class DataError(ValueError):
    """A user's mistake in data or its configuration, told in one line.

    The message says what is wrong, where (a key, or path:line) and what is allowed.
    """
