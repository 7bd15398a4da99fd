"""The base class of all errors that a user can mend."""


class UserError(ValueError):
    """A problem that the user can solve; the message says what is wrong, where, and what to do.

    Commands print only the message. Any other exception is a fault of the program and keeps its
    traceback.
    """
