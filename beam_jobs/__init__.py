"""Mixture datasets, their verification and export, and the separation of archives, as Beam jobs."""

from beam_jobs.runtime.workarounds import import_beam, keep_pandas_out_of_arrow

import_beam()
keep_pandas_out_of_arrow()
