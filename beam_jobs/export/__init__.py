"""Layouts of exported audio: one module for each."""

from beam_jobs.export import folders, librimix, spleeter
from beam_jobs.export.layout import ExportLayout

LAYOUTS: tuple[ExportLayout, ...] = (spleeter, librimix, folders)


def find_layout(name: str) -> ExportLayout:
    """Returns the layout of a name that one of `LAYOUTS` has."""
    return next(layout for layout in LAYOUTS if name == layout.NAME)
