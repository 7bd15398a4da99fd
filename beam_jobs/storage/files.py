"""Files on any file system that Beam knows, visible under their names only once they are complete.

Google Cloud Storage shows objects only when they are complete. Elsewhere a file first has a
temporary name.
"""

import contextlib
import errno
import functools
import glob
import gzip
import os
import re
import tempfile
import types
import urllib.parse
import uuid
import warnings
from collections.abc import Iterator
from typing import BinaryIO, cast

import google_crc32c
from apache_beam.io.filesystem import CompressionTypes, FileSystem
from apache_beam.io.filesystems import FileSystems

from schemas.errors import UserError

TEMPORARY_INFIX = ".incomplete-"

_BLOCK_BYTES = 1 << 20

_MAX_OBJECT_NAME_BYTES = 1024

# A file system answers with these if it can't have a file of a name, whatever is in the file.
_ERRNOS_OF_NAMES = frozenset({errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL, errno.EISDIR})

# And with these if there is no room for what is in the file.
_ERRNOS_OF_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class OutputError(UserError, OSError):
    """An output can't be written, whatever the input: the job ends."""


class UnwritableNameError(UserError):
    """An output that can't be written because of its name alone; others can."""


@contextlib.contextmanager
def as_output_error(path: str, *others: type[Exception]) -> Iterator[None]:
    """Turns an `OSError` of the block, or an exception of another kind, into an `OutputError`.

    Raises:
        OutputError: nothing can be written there.
        UnwritableNameError: this path can't be written.
    """
    try:
        yield
    except OutputError:
        raise
    except Exception as error:
        if not isinstance(error, (OSError, *others)):
            raise
        if isinstance(error, OSError) and error.errno in _ERRNOS_OF_NAMES:
            raise UnwritableNameError(f"{path}: can't be written: {error.strerror}") from error
        raise _output_error(path, error) from error


def _output_error(path: str, error: Exception) -> OutputError:
    reason = getattr(error, "strerror", None) or str(error)
    output_error = OutputError(
        f"{path}: can't be written: {reason}. What is finished is kept: make room there and start"
        " the same command again, or name another --output"
    )
    output_error.strerror = reason
    return output_error


@contextlib.contextmanager
def _needing_room(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        # Nothing that is read for a file that is written fails for the lack of room.
        if error.errno in _ERRNOS_OF_ROOM:
            raise _output_error(path, error) from error
        raise


def check_name(path: str) -> None:
    """Checks that a file system takes the name of a file that is to be written.

    Raises:
        UnwritableNameError: the name, or the temporary name that the file has first, is too long;
            or there is a folder of that name, or a file that would have to be a folder.
    """
    if is_cloud_storage(path):
        longest, limit = path.removeprefix("gs://").partition("/")[2], _MAX_OBJECT_NAME_BYTES
    elif is_remote(path):
        return
    else:
        folder = os.path.dirname(os.path.abspath(path))
        while not os.path.isdir(folder):
            if os.path.lexists(folder):
                raise UnwritableNameError(f"{path}: can't be written: {folder} is not a folder")
            folder = os.path.dirname(folder)
        longest = max(_temporary_name(path).split("/"), key=lambda name: len(os.fsencode(name)))
        limit = os.pathconf(folder, "PC_NAME_MAX")
        if os.path.isdir(path):
            raise UnwritableNameError(f"{path}: can't be written: is a folder")
    num_bytes = len(os.fsencode(longest))
    if num_bytes > limit:
        raise UnwritableNameError(
            f"the name of its output {path} is {num_bytes - limit} bytes too long: shorten the"
            " file's name, or give a shorter --name_template"
        )


def absolute(path: str) -> str:
    """Returns a path that means the same to workers that run in another folder.

    Raises:
        UserError: as `expand`.
    """
    path = expand(path)
    return path if is_remote(path) else os.path.abspath(path)


def expand(path: str) -> str:
    """Returns a path as file systems take it.

    A tilde at the beginning is the user's folder, which shells do not put into `--output=~/x`, and
    a URL of a file on this machine is its path.

    Raises:
        UserError: the path is on a file system that is not known.
    """
    if path.startswith("file://"):
        return urllib.parse.unquote(re.sub("^file://(localhost)?", "", path))
    if not is_remote(path):
        return os.path.expanduser(path)
    if not is_cloud_storage(path):
        try:
            FileSystems.get_filesystem(path)
        except ValueError:
            raise UserError(
                f"{path}: no file system for {path.partition('://')[0]}:// is known here: copy it"
                " to this machine or to gs://"
            ) from None
    return path


def real_path(path: str) -> str:
    """Returns the path by which a file is known whatever links lead to it."""
    return path if is_remote(path) else os.path.realpath(path)


def is_same_file(path: str, other: str) -> bool:
    """Returns whether two paths lead to one file, by links of any kind."""
    if path == other or is_remote(path) or is_remote(other):
        return path == other
    try:
        return os.path.samefile(path, other)
    except OSError:
        return False


def join(folder: str, *parts: str) -> str:
    """Returns the path of a file in a folder."""
    if is_cloud_storage(folder):
        import_cloud_storage()
    return str(FileSystems.join(folder, *parts))


@contextlib.contextmanager
def write_atomically(path: str) -> Iterator[BinaryIO]:
    """Opens a file that appears under its name when the block has ended without an error.

    Several writers may write one path at once: each has its own temporary name, and the last one to
    finish wins.

    Raises:
        OutputError: the disk is full.
        OSError: the folder can't be written; BeamIOError is one.
    """
    if is_cloud_storage(path):
        with import_cloud_storage().create_object(path) as created:
            yield created
        return
    temporary = _temporary_name(path)
    with _needing_room(path):
        file = FileSystems.create(temporary, compression_type=CompressionTypes.UNCOMPRESSED)
        try:
            with file:
                yield file
            FileSystems.rename([temporary], [path])
        except BaseException:
            with contextlib.suppress(OSError):
                FileSystems.delete([glob.escape(temporary)])
            raise


@contextlib.contextmanager
def write_atomically_from_disk(path: str) -> Iterator[str]:
    """Does what `write_atomically` does for writers that seek, as those of WAV files do.

    Yields:
        The path of a file on this machine.

    Raises:
        OutputError: the disk is full.
        OSError: the folder can't be written; BeamIOError is one.
    """
    if is_cloud_storage(path):
        with tempfile.NamedTemporaryFile() as local:
            yield local.name
            with open(local.name, "rb") as written:
                import_cloud_storage().upload(written, path)
        return
    if is_remote(path):
        with tempfile.NamedTemporaryFile() as local:
            yield local.name
            with open(local.name, "rb") as written, write_atomically(path) as file:
                _copy_blocks(written, file)
        return
    temporary = _temporary_name(path)
    with _needing_room(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        # Writers such as libsndfile would say of any problem only that it is a system error.
        open(temporary, "xb").close()
        try:
            yield temporary
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise


def write_text(path: str, text: str) -> None:
    """Writes a small file."""
    with write_atomically(path) as file:
        file.write(text.encode())


def write_output(path: str, text: str) -> None:
    """Writes a small file without which the job is worth nothing.

    Raises:
        OutputError: the file can't be written.
    """
    with as_output_error(path):
        write_text(path, text)


@contextlib.contextmanager
def open_file(path: str, *, compressed: bool = False) -> Iterator[BinaryIO]:
    """Opens a file for reading.

    Args:
        path: of the file; its suffix says nothing.
        compressed: whether to decompress it as gzip.
    """
    if is_cloud_storage(path):
        with import_cloud_storage().open_object(path) as stored:
            yield cast(BinaryIO, gzip.GzipFile(fileobj=stored)) if compressed else stored
        return
    compression = CompressionTypes.GZIP if compressed else CompressionTypes.UNCOMPRESSED
    with FileSystems.open(path, compression_type=compression) as file:
        yield file


def read_bytes(path: str) -> bytes:
    """Returns the content of a small file."""
    with open_file(path) as file:
        return file.read()


def read_text(path: str) -> str:
    """Returns the content of a small file that this program has written.

    Raises:
        UserError: it is not UTF-8 any more.
    """
    try:
        return read_bytes(path).decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: damaged, not UTF-8 at byte {error.start}") from None


def copy(source: str, target: str) -> None:
    """Copies a file from any file system to any other."""
    with open_file(source) as read, write_atomically(target) as written:
        _copy_blocks(read, written)


def checksum(path: str) -> tuple[int, str]:
    """Returns the size of a file in bytes, and its CRC-32C in hexadecimal."""
    size = crc = 0
    with open_file(path) as file:
        while block := file.read(_BLOCK_BYTES):
            size += len(block)
            crc = google_crc32c.extend(crc, block)
    return size, f"{crc:08x}"


def exists(path: str) -> bool:
    """Returns whether a file exists.

    Raises:
        PermissionError: who runs this may not know.
    """
    if is_cloud_storage(path):
        return bool(import_cloud_storage().exists(path))
    if is_remote(path):
        return bool(FileSystems.exists(path))
    try:
        os.stat(path)
    except PermissionError:
        raise
    except (OSError, ValueError):
        return False
    return True


def version(path: str) -> tuple[int, float, str]:
    """Returns what changes when a file does: its size, its time, and any checksum of its storage.

    Returns:
        The size in bytes, the time of the last change in seconds since 1970, and a checksum, which
        is empty where the file system keeps none.

    Raises:
        OSError: there is no such file; BeamIOError is one.
    """
    if not is_remote(path):
        status = os.stat(path)
        return status.st_size, status.st_mtime, ""
    if is_cloud_storage(path):
        return cast(tuple[int, float, str], import_cloud_storage().version(path))
    metadata = FileSystems.get_filesystem(path).metadata(path)
    checksum_text = str(FileSystems.checksum(path) or "")
    return metadata.size_in_bytes, metadata.last_updated_in_seconds, checksum_text


def find_paths(folder: str, pattern: str) -> Iterator[str]:
    """Yields each file in a folder whose path in it matches a glob pattern, as it is found."""
    whole_pattern = join(glob.escape(folder), pattern)
    if is_cloud_storage(folder):
        literal = re.split(r"[*?[]", pattern, maxsplit=1)[0]
        matches = re.compile(FileSystem.translate_pattern(whole_pattern)).match
        yield from filter(matches, import_cloud_storage().list_objects(join(folder, literal)))
    else:
        (match,) = FileSystems.match([whole_pattern])
        yield from (metadata.path for metadata in match.metadata_list)


def list_paths(folder: str, pattern: str) -> list[str]:
    """Returns the files in a folder whose path in it matches a glob pattern, sorted."""
    return sorted(find_paths(folder, pattern))


def remove(folder: str, pattern: str) -> None:
    """Removes the files in a folder whose path in it matches a glob pattern."""
    if is_cloud_storage(folder):
        import_cloud_storage().delete(find_paths(folder, pattern))
        return
    # Beam reads these paths as patterns, too, and fails if one matches nothing.
    if paths := list_paths(folder, pattern):
        FileSystems.delete([glob.escape(path) for path in paths])
    subfolder = join(folder, os.path.dirname(pattern))
    if subfolder != join(folder, "") and not is_remote(folder):
        with contextlib.suppress(OSError):
            os.rmdir(subfolder)


@functools.cache
def import_cloud_storage() -> types.ModuleType:
    """Imports the functions for `gs://`; Beam, too, knows it only from then on.

    Raises:
        UserError: Google's client library is not installed.
    """
    try:
        with warnings.catch_warnings():
            # Of versions of Python and of gRPC that will be too old one day.
            warnings.simplefilter("ignore", FutureWarning)
            from beam_jobs.storage import cloud_storage  # noqa: PLC0415
    except ImportError:
        raise UserError(
            "gs:// takes Google's client library, which is not installed: pip install"
            " 'spleeter-beam[gcp]'"
        ) from None
    return cloud_storage


def is_remote(path: str) -> bool:
    """Returns whether a path is on a file system other than this machine's."""
    return "://" in path


def is_cloud_storage(path: str) -> bool:
    """Returns whether a path is in Google Cloud Storage."""
    return path.startswith("gs://")


def _temporary_name(path: str) -> str:
    return f"{path}{TEMPORARY_INFIX}{uuid.uuid4().hex}"


def _copy_blocks(read: BinaryIO, written: BinaryIO) -> None:
    while block := read.read(_BLOCK_BYTES):
        written.write(block)
