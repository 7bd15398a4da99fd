"""Objects in Google Cloud Storage, through the client library that Beam uses, too.

Beam's own file system makes a new client, and with it a new TLS connection, for every call; reads
at least 16 MB of any file; and keeps all names of a listing in memory. A job that opens hundreds of
recordings a second would do little else. Here each thread keeps its client, a file is read in
ranges that grow as long as it is read in order, and a listing comes page by page. Credentials and
retries are those of Beam.

`files` imports this module at the first `gs://` path, because the client library comes with the
extra `gcp`.
"""

import contextlib
import datetime
import errno
import io
import mimetypes
import threading
from collections.abc import Iterable, Iterator
from typing import BinaryIO, cast

from apache_beam.io.filesystems import FileSystems
from apache_beam.io.gcp import gcsfilesystem  # noqa: F401
from apache_beam.io.gcp.gcsio import GcsIO, parse_gcs_path
from apache_beam.options.pipeline_options import PipelineOptions
from google.api_core import exceptions
from google.auth.exceptions import GoogleAuthError
from google.cloud.storage import Blob, Client
from google.cloud.storage.fileio import BlobWriter
from google.cloud.storage.retry import DEFAULT_RETRY

# Enough for the header of a recording, and for all of most utterances.
_FIRST_RANGE_BYTES = 1 << 17
_LAST_RANGE_BYTES = 1 << 24

_UPLOAD_CHUNK_BYTES = 1 << 24

_LISTED = "items(name),nextPageToken"

_kept = threading.local()


def exists(path: str) -> bool:
    """Returns whether an object exists; a bucket is not an object."""
    if "/" not in path.removeprefix("gs://").rstrip("/"):
        return False
    with _as_os_error(path):
        return bool(_blob(path).exists(retry=DEFAULT_RETRY))


def version(path: str) -> tuple[int, float, str]:
    """Returns the size in bytes, the time in seconds since 1970, and the CRC-32C in base64.

    Raises:
        FileNotFoundError: there is no such object.
    """
    blob = _blob(path)
    with _as_os_error(path):
        blob.reload(retry=DEFAULT_RETRY)
    return blob.size, cast(datetime.datetime, blob.updated).timestamp(), blob.crc32c or ""


def list_objects(prefix: str) -> Iterator[str]:
    """Yields the path of each object whose path has a prefix, in order."""
    bucket, name_prefix = parse_gcs_path(prefix, object_optional=True)
    with _as_os_error(prefix):
        for blob in _client().list_blobs(
            bucket, prefix=name_prefix, fields=_LISTED, retry=DEFAULT_RETRY
        ):
            yield f"gs://{bucket}/{blob.name}"


def open_object(path: str) -> BinaryIO:
    """Opens the present version of an object for reading.

    Raises:
        FileNotFoundError: there is no such object.
    """
    return cast(BinaryIO, io.BufferedReader(_ObjectReader(path)))


@contextlib.contextmanager
def create_object(path: str) -> Iterator[BinaryIO]:
    """Opens an object that appears when the block has ended without an error."""
    with _as_os_error(path), _ObjectWriter(path) as file:
        yield cast(BinaryIO, file)


def upload(file: BinaryIO, path: str) -> None:
    """Uploads a file, from its beginning, as an object."""
    num_bytes = file.seek(0, io.SEEK_END)
    blob = _blob(path, chunk_bytes=_UPLOAD_CHUNK_BYTES)
    with _as_os_error(path):
        blob.upload_from_file(
            file,
            rewind=True,
            size=num_bytes,
            content_type=_content_type(path),
            checksum="crc32c",
            retry=DEFAULT_RETRY,
        )


def delete(paths: Iterable[str]) -> None:
    """Deletes objects, a hundred in a request; it does not matter if some are gone already."""
    paths = list(paths)
    if not paths:
        return
    with _as_os_error(paths[0]):
        for path, status in _gcs_io().delete_batch(paths):
            if status:
                raise OSError(f"{path}: not deleted: HTTP status {status}")


class _ObjectReader(io.RawIOBase):
    """An object that is read in ranges, each twice as long as the one before until a seek."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._blob = _blob(path)
        with _as_os_error(path):
            self._blob.reload(retry=DEFAULT_RETRY)
        self._position = 0
        self._range = b""
        self._range_start = 0
        self._range_bytes = _FIRST_RANGE_BYTES

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._blob.size}
        self._position = max(0, origin[whence] + offset)
        return self._position

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        range_end = self._range_start + len(self._range)
        if not self._range_start <= self._position < range_end:
            if self._position >= self._blob.size:
                return 0
            is_next = self._range and self._position == range_end
            self._range_bytes = (
                min(2 * self._range_bytes, _LAST_RANGE_BYTES) if is_next else _FIRST_RANGE_BYTES
            )
            self._range = self._fetch(max(self._range_bytes, len(buffer)))
            self._range_start = self._position
        start = self._position - self._range_start
        part = self._range[start : start + len(buffer)]
        buffer[: len(part)] = part
        self._position += len(part)
        return len(part)

    def _fetch(self, num_bytes: int) -> bytes:
        with _as_os_error(self._path):
            content: bytes = self._blob.download_as_bytes(
                start=self._position,
                end=self._position + num_bytes - 1,
                raw_download=True,
                checksum=None,
                retry=DEFAULT_RETRY,
            )
        if not content:
            raise OSError(f"{self._path}: ends before its size")
        return content


class _ObjectWriter(BlobWriter):  # type: ignore[misc]
    """An object that is sent in chunks, and that never exists if the block raises an error."""

    def __init__(self, path: str) -> None:
        super().__init__(
            _blob(path),
            chunk_size=_UPLOAD_CHUNK_BYTES,
            ignore_flush=True,
            retry=DEFAULT_RETRY,
            content_type=_content_type(path),
            checksum="crc32c",
        )

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            # Without its buffer, closing the file does not complete the upload, whether it is
            # closed here or by the garbage collector.
            self._buffer.close()
        self.close()


def _content_type(path: str) -> str:
    return mimetypes.guess_type(path)[0] or "application/octet-stream"


def _gcs_io() -> GcsIO:
    """Returns this thread's own, because a client must not be shared by threads."""
    if not hasattr(_kept, "gcs_io"):
        _kept.gcs_io = GcsIO(pipeline_options=FileSystems._pipeline_options or PipelineOptions([]))
    return cast(GcsIO, _kept.gcs_io)


def _client() -> Client:
    return _gcs_io().client


def _blob(path: str, chunk_bytes: int | None = None) -> Blob:
    bucket, name = parse_gcs_path(path)
    return _client().bucket(bucket).blob(name, chunk_size=chunk_bytes)


@contextlib.contextmanager
def _as_os_error(path: str) -> Iterator[None]:
    """Turns errors of the client into those of a file system, so that some are tried again."""
    try:
        yield
    except exceptions.NotFound as error:
        raise FileNotFoundError(errno.ENOENT, "no such object or bucket", path) from error
    except (exceptions.Forbidden, exceptions.Unauthorized) as error:
        raise PermissionError(errno.EACCES, error.message, path) from error
    except (exceptions.GoogleAPIError, GoogleAuthError) as error:
        raise OSError(f"{path}: {error}") from error
