"""Files on any file system that Beam knows; what is written appears under its name only when whole.

An object of Google Cloud Storage does so of itself. Elsewhere a file has a temporary name first.
"""

import contextlib
import glob
import gzip
import os
import re
import tempfile
import types
import uuid
from collections.abc import Iterator
from typing import BinaryIO, cast

import google_crc32c
from apache_beam.io.filesystem import CompressionTypes, FileSystem
from apache_beam.io.filesystems import FileSystems

from schemas.errors import UserError

TEMPORARY_INFIX = ".incomplete-"

_BLOCK_BYTES = 1 << 20


class OutputError(UserError, OSError):
    """An output can't be written, through no fault of the input: the job ends."""


@contextlib.contextmanager
def as_output_error(path: str, *others: type[Exception]) -> Iterator[None]:
    """Raises an `OutputError` for any `OSError` of the block, and for other kinds of exceptions."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, (OSError, *others)):
            raise
        raise OutputError(
            f"{path}: can't be written: {error}. What is finished is kept: make room or give "
            "another --output, and run again"
        ) from error


def absolute(path: str) -> str:
    """A path that workers elsewhere than in this folder understand, too."""
    return path if is_remote(path) else os.path.abspath(path)


def join(folder: str, *parts: str) -> str:
    """The path of a file in a folder."""
    return str(FileSystems.join(folder, *parts))


@contextlib.contextmanager
def write_atomically(path: str) -> Iterator[BinaryIO]:
    """Opens a file that appears under its name, whole, when the block ends without an error.

    Two writers of one path do not meet: each has a temporary name of its own, and the last one to
    finish wins.

    Raises:
        OSError: the folder can't be written or is full; BeamIOError is one.
    """
    if is_cloud_storage(path):
        with _cloud_storage().create_object(path) as created:
            yield created
        return
    temporary = f"{path}{TEMPORARY_INFIX}{uuid.uuid4().hex}"
    file = FileSystems.create(temporary, compression_type=CompressionTypes.UNCOMPRESSED)
    try:
        with file:
            yield file
        FileSystems.rename([temporary], [path])
    except BaseException:
        with contextlib.suppress(OSError):
            FileSystems.delete([glob.escape(temporary)])
        raise


def write_text(path: str, text: str) -> None:
    """Writes a small file at once."""
    with write_atomically(path) as file:
        file.write(text.encode())


def write_output(path: str, text: str) -> None:
    """Writes a small file that is an output of the job.

    Raises:
        OutputError: the file can't be written.
    """
    with as_output_error(path):
        write_text(path, text)


@contextlib.contextmanager
def open_file(path: str, *, compressed: bool = False) -> Iterator[BinaryIO]:
    """Opens a file for reading, whatever its suffix; of a compressed one, what it was made from."""
    if is_cloud_storage(path):
        with _cloud_storage().open_object(path) as stored:
            yield cast(BinaryIO, gzip.GzipFile(fileobj=stored)) if compressed else stored
        return
    compression = CompressionTypes.GZIP if compressed else CompressionTypes.UNCOMPRESSED
    with FileSystems.open(path, compression_type=compression) as file:
        yield file


def read_bytes(path: str) -> bytes:
    """Reads a small file at once."""
    with open_file(path) as file:
        return file.read()


def read_text(path: str) -> str:
    """Reads a small file at once."""
    return read_bytes(path).decode()


def copy(source: str, target: str) -> None:
    """Copies a file, from and to any file system."""
    with open_file(source) as read, write_atomically(target) as written:
        while block := read.read(_BLOCK_BYTES):
            written.write(block)


def checksum(path: str) -> tuple[int, str]:
    """The size of a file in bytes, and its CRC-32C in hexadecimal."""
    size = crc = 0
    with open_file(path) as file:
        while block := file.read(_BLOCK_BYTES):
            size += len(block)
            crc = google_crc32c.extend(crc, block)
    return size, f"{crc:08x}"


def exists(path: str) -> bool:
    """Whether there is a file of this name."""
    if is_cloud_storage(path):
        return bool(_cloud_storage().exists(path))
    return bool(FileSystems.exists(path))


def version(path: str) -> tuple[int, float, str]:
    """The size in bytes, when it was changed, in seconds since 1970, and a checksum or nothing.

    Raises:
        OSError: it is not there; BeamIOError is one.
    """
    if not is_remote(path):
        status = os.stat(path)
        return status.st_size, status.st_mtime, ""
    if is_cloud_storage(path):
        return cast(tuple[int, float, str], _cloud_storage().version(path))
    metadata = FileSystems.get_filesystem(path).metadata(path)
    checksum_text = str(FileSystems.checksum(path) or "")
    return metadata.size_in_bytes, metadata.last_updated_in_seconds, checksum_text


def find_paths(folder: str, pattern: str) -> Iterator[str]:
    """Yields the files in a folder whose path in it matches a glob pattern, as they are found."""
    whole_pattern = join(glob.escape(folder), pattern)
    if is_cloud_storage(folder):
        literal = re.split(r"[*?[]", pattern, maxsplit=1)[0]
        matches = re.compile(FileSystem.translate_pattern(whole_pattern)).match
        yield from filter(matches, _cloud_storage().list_objects(join(folder, literal)))
    else:
        (match,) = FileSystems.match([whole_pattern])
        yield from (metadata.path for metadata in match.metadata_list)


def list_paths(folder: str, pattern: str) -> list[str]:
    """The files in a folder whose path in it matches a glob pattern, sorted."""
    return sorted(find_paths(folder, pattern))


def remove(folder: str, pattern: str) -> None:
    """Removes the files in a folder whose path in it matches a glob pattern."""
    if is_cloud_storage(folder):
        _cloud_storage().delete(find_paths(folder, pattern))
        return
    # Beam takes what it shall delete for patterns too, and fails where they match nothing.
    if paths := list_paths(folder, pattern):
        FileSystems.delete([glob.escape(path) for path in paths])
    subfolder = join(folder, os.path.dirname(pattern))
    if subfolder != join(folder, "") and not is_remote(folder):
        with contextlib.suppress(OSError):
            os.rmdir(subfolder)


def is_remote(path: str) -> bool:
    """Whether a path is on another file system than this machine's."""
    return "://" in path


def is_cloud_storage(path: str) -> bool:
    """Whether a path is in Google Cloud Storage."""
    return path.startswith("gs://")


def _cloud_storage() -> types.ModuleType:
    try:
        from beam_jobs.storage import cloud_storage  # noqa: PLC0415
    except ImportError:
        raise UserError(
            "gs:// takes Google's client library, which is not installed: pip install"
            " 'spleeter-beam[gcp]'"
        ) from None
    return cloud_storage


@contextlib.contextmanager
def write_atomically_from_disk(path: str) -> Iterator[str]:
    """Like `write_atomically`, for what must seek in the file that it writes, such as a WAV file.

    Yields:
        The path of a file on this machine.

    Raises:
        OSError: the folder can't be written or is full; BeamIOError is one.
    """
    if is_cloud_storage(path):
        with tempfile.NamedTemporaryFile() as local:
            yield local.name
            with open(local.name, "rb") as written:
                _cloud_storage().upload(written, path)
        return
    if is_remote(path):
        with tempfile.NamedTemporaryFile() as local:
            yield local.name
            with open(local.name, "rb") as written, write_atomically(path) as file:
                while block := written.read(1 << 22):
                    file.write(block)
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = f"{path}{TEMPORARY_INFIX}{uuid.uuid4().hex}"
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
