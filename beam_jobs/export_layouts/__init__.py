"""How exported audio lies in its folder: one small module for each layout."""

from beam_jobs.export_layouts import folders, librimix, spleeter
from beam_jobs.export_layouts.layout import ExportLayout

LAYOUTS: tuple[ExportLayout, ...] = (spleeter, librimix, folders)
