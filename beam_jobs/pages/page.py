"""Pages: HTML from the templates beside this file, with everything they show inside them."""

import base64
from typing import Any

import jinja2
from matplotlib.ticker import EngFormatter


def render_page(template: str, **values: Any) -> str:
    """Renders a page that needs no other file.

    Args:
        template: the name of its template.
        values: of the template's variables.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("beam_jobs.pages"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "hours": _format_hours,
        "bytes": _format_bytes,
        "short": _format_short,
    }
    page = environment.get_template(template).render(values)
    # A file name that is not UTF-8 has surrogates, which no file can hold.
    return page.encode("utf-8", "backslashreplace").decode("utf-8")


def _format_hours(hours: float) -> str:
    if hours < 1:
        return f"{hours * 60:.3g} min"
    return f"{hours:,.1f} h"


def _format_bytes(num_bytes: int) -> str:
    return EngFormatter("B", places=1)(num_bytes) if num_bytes else "0 B"


def _format_short(value: float) -> str:
    return f"{value:.3g}"


def data_uri(media_type: str, data: bytes) -> str:
    """Returns a URI that contains a whole file."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode('ascii')}"
