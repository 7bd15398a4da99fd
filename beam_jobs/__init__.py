"""The pipelines, and the transforms that they are made of."""

import logging
import sys
import warnings


def _import_beam_quickly() -> None:
    """Imports Beam without what it imports just because it is installed.

    Spleeter brings pandas along, and Beam then loads it for DataFrames that no job here has: with
    databases that none reads, half of the start-up of every command.
    """
    unused = ("pandas", "pymongo", "google.cloud.bigquery", "google.cloud.pubsub")
    absent = [name for name in unused if name not in sys.modules]
    for name in absent:
        sys.modules[name] = None  # type: ignore[assignment]
    # Beam warns that crcmod is missing before it finds that google-crc32c is there.
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            import apache_beam  # noqa: F401, PLC0415
    finally:
        logging.disable(logging.NOTSET)
        for name in absent:
            del sys.modules[name]


_import_beam_quickly()
