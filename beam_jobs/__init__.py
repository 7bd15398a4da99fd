"""Mixture datasets, their verification and export, and the separation of archives, as Beam jobs."""

from beam_jobs.runtime.workarounds import import_beam

import_beam()
