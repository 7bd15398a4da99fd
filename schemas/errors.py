"""The one kind of error that a user can mend."""


class UserError(ValueError):
    """Something that the user can mend; the message says what, where and how.

    Commands print the message and nothing else. Any other exception is a fault of the program, and
    keeps its traceback.
    """
