"""Pages: HTML from the templates beside this file, with everything they show inside them."""

import base64
import functools
from typing import Any

import jinja2

from pages.numbers import format_bytes, format_fixed, format_hours, format_short


def render_page(template: str, **values: Any) -> str:
    """Renders a page that needs no other file.

    Args:
        template: the name of its template.
        values: of the template's variables.
    """
    page = _environment().get_template(template).render(values)
    # A file name that is not UTF-8 has surrogates, which no file can hold.
    return page.encode("utf-8", "backslashreplace").decode("utf-8")


def data_uri(media_type: str, data: bytes) -> str:
    """Returns a URI that contains a whole file."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode('ascii')}"


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pages"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "fixed": format_fixed,
        "hours": format_hours,
        "bytes": format_bytes,
        "short": format_short,
    }
    return environment
