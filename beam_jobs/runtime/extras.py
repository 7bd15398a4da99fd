"""Packages that come with an extra of this one, and may be missing."""

import importlib.util

from schemas.errors import UserError, tensorflow_remedy

_TENSORFLOW_NAMES = {"tensorflow": "TensorFlow", "spleeter": "Spleeter"}


def require_installed(*modules: str) -> None:
    """Checks that modules of the extra `tensorflow` are installed, without importing them.

    Args:
        modules: `tensorflow` or `spleeter` or both.

    Raises:
        UserError: one is not.
    """
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise UserError(f"separation needs {_TENSORFLOW_NAMES[module]}: {tensorflow_remedy()}")
