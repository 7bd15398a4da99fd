"""Exporting a dataset as audio files: a module for each layout."""

from beam_jobs.export import folders, lhotse, librimix, nemo, spleeter, webdataset
from beam_jobs.export.layout import ExportLayout

LAYOUTS: tuple[ExportLayout, ...] = tuple(
    module.LAYOUT for module in (spleeter, librimix, webdataset, lhotse, nemo, folders)
)


def find_layout(name: str) -> ExportLayout:
    """Returns the layout with a name, which one of `LAYOUTS` has."""
    return next(layout for layout in LAYOUTS if name == layout.name)
