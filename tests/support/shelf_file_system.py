"""A remote file system for tests: `shelf://` is a folder of this machine.

Like an object store, it has no folders, its files can't be sought while they are written, and only
Beam understands its paths.
"""

import io
import os
from pathlib import Path
from typing import ClassVar

from apache_beam.io.filesystem import BeamIOError, CompressionTypes, FileMetadata, FileSystem

ROOT = "SHELF_ROOT"
_PREFIX = "shelf://"


class ShelfFileSystem(FileSystem):
    """The file system. Opening a file raises the last of `failures`, as long as there are any."""

    failures: ClassVar[list[Exception]] = []

    @classmethod
    def scheme(cls):
        return "shelf"

    def join(self, basepath, *paths):
        return "/".join([basepath.rstrip("/"), *(path.strip("/") for path in paths)])

    def split(self, path):
        return path.rsplit("/", 1)

    def mkdirs(self, path):
        pass

    def has_dirs(self):
        return False

    def _list(self, dir_or_prefix):
        root = Path(os.environ[ROOT])
        for path in sorted(root.rglob("*")):
            name = _PREFIX + str(path.relative_to(root))
            if path.is_file() and name.startswith(dir_or_prefix):
                yield FileMetadata(name, path.stat().st_size, path.stat().st_mtime)

    def create(self, path, mime_type="", compression_type=CompressionTypes.AUTO):
        del mime_type, compression_type
        local(path).parent.mkdir(parents=True, exist_ok=True)
        return _Unseekable(local(path).open("wb"))

    def open(self, path, mime_type="", compression_type=CompressionTypes.AUTO):
        del mime_type, compression_type
        if self.failures:
            raise self.failures.pop()
        return local(path).open("rb")

    def copy(self, source_file_names, destination_file_names):
        raise NotImplementedError

    def rename(self, source_file_names, destination_file_names):
        for source, destination in zip(source_file_names, destination_file_names, strict=True):
            local(source).replace(local(destination))

    def exists(self, path):
        return local(path).is_file()

    def size(self, path):
        return self.metadata(path).size_in_bytes

    def last_updated(self, path):
        return self.metadata(path).last_updated_in_seconds

    def checksum(self, path):
        return f"checksum-{self.size(path)}"

    def metadata(self, path):
        if not self.exists(path):
            raise BeamIOError(f"{path} not found")
        status = local(path).stat()
        return FileMetadata(path, status.st_size, status.st_mtime)

    def delete(self, paths):
        for path in paths:
            local(path).unlink()


class _Unseekable(io.BufferedWriter):
    def __init__(self, file):
        super().__init__(file.detach())

    def seekable(self):
        return False

    def seek(self, *_):
        raise io.UnsupportedOperation("seek")


def local(path):
    return Path(os.environ[ROOT], path.removeprefix(_PREFIX))
