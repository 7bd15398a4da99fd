"""Packages that come with an extra of this one, and may be missing."""

from schemas.errors import UserError, is_installed, tensorflow_remedy

_TENSORFLOW_NAMES = {"tensorflow": "TensorFlow", "spleeter": "Spleeter"}


def require_installed(*modules: str) -> None:
    """Checks that modules of the extra `tensorflow` are installed, without importing them.

    Args:
        modules: `tensorflow` or `spleeter` or both.

    Raises:
        UserError: one is not.
    """
    for module in modules:
        if not is_installed(module):
            raise UserError(f"separation needs {_TENSORFLOW_NAMES[module]}: {tensorflow_remedy()}")
