"""Numbers as people read them."""

from matplotlib.ticker import EngFormatter


def format_fixed(value: float, decimals: int) -> str:
    """Formats a number with so many decimals, and a true minus sign, but none before zero."""
    # Adding 0 turns the -0.0 that rounding leaves into 0.0.
    return f"{round(value, decimals) + 0.0:,.{decimals}f}".replace("-", "\N{MINUS SIGN}")


def format_short(value: float) -> str:
    """Formats a number with three digits at the most."""
    return f"{value:.3g}"


def format_hours(hours: float) -> str:
    """Formats a length of audio: in hours, or if it is below one, in minutes or in seconds."""
    if hours < 1 / 60:
        return f"{hours * 3600:.3g} s"
    if hours < 1:
        return f"{hours * 60:.3g} min"
    return f"{hours:,.1f} h"


def format_bytes(num_bytes: int) -> str:
    """Formats a size."""
    return EngFormatter("B", places=1)(num_bytes) if num_bytes else "0 B"
