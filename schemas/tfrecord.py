"""TFRecord files of `tf.train.Example`, without TensorFlow.

Both formats are small and frozen. Protobuf would promise the same bytes only within one version of
its library, and checksums, resuming and comparisons between runners all rely on the bytes of a
shard.

Sources: https://www.tensorflow.org/tutorials/load_data/tfrecord (format details),
tensorflow/core/example/{example,feature}.proto, https://protobuf.dev/programming-guides/encoding.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO

import google_crc32c

from schemas.errors import UserError

Feature = bytes | memoryview | Sequence[bytes] | Sequence[int] | Sequence[float]
"""The values of a feature; bytes alone are a list of one, and the first value gives the type."""

_BYTES_LIST, _FLOAT_LIST, _INT64_LIST = 1, 2, 3
_LENGTH_DELIMITED = 2


class CorruptRecordError(UserError):
    """A TFRecord file is cut off, a checksum fails, or a record is not a `tf.train.Example`."""


def write_record(file: BinaryIO, payload: bytes) -> int:
    """Appends one record and returns the number of bytes that it takes in the file."""
    length = struct.pack("<Q", len(payload))
    file.write(length + struct.pack("<I", _masked_crc(length)))
    file.write(payload)
    file.write(struct.pack("<I", _masked_crc(payload)))
    return len(payload) + 16


def read_records(file: BinaryIO) -> Iterator[bytes]:
    """Yields the payload of each record, after verifying its checksums.

    Raises:
        CorruptRecordError: the file is damaged; the message has the offset of the record.
    """
    offset = 0
    while header := file.read(12):
        if len(header) < 12:
            raise CorruptRecordError(f"cut off inside the record at byte {offset}")
        length, length_crc = struct.unpack("<QI", header)
        if _masked_crc(header[:8]) != length_crc:
            raise CorruptRecordError(f"wrong length checksum in the record at byte {offset}")
        payload, footer = file.read(length), file.read(4)
        if len(payload) < length or len(footer) < 4:
            raise CorruptRecordError(f"cut off inside the record at byte {offset}")
        if _masked_crc(payload) != struct.unpack("<I", footer)[0]:
            raise CorruptRecordError(f"wrong data checksum in the record at byte {offset}")
        yield payload
        offset += length + 16


def encode_example(features: Mapping[str, Feature]) -> bytes:
    """Serialises a `tf.train.Example` with its features in the order of their names.

    Raises:
        ValueError: a list is empty, so that its type is unknown.
    """
    # Audio is large: it is copied once, into the whole, and only counted before.
    parts: list[bytes | memoryview] = []
    for name in sorted(features):
        fields, values = _encode_values(name, features[name])
        key = _delimited(1, name.encode())
        head = key + _heads((*fields, 2), len(values))
        parts += [_heads((1,), len(head) + len(values)), head, values]
    return b"".join([_heads((1,), sum(map(len, parts))), *parts])


def decode_example(payload: bytes) -> dict[str, list[bytes] | list[int] | list[float]]:
    """Parses a `tf.train.Example` as `encode_example` and TensorFlow write it.

    Raises:
        CorruptRecordError: the payload is not an Example.
    """
    try:
        features: dict[str, list[bytes] | list[int] | list[float]] = {}
        for _, body in _fields(memoryview(payload)):
            for _, entry in _fields(body):
                key, feature = (part for _, part in _fields(entry))
                features[bytes(key).decode()] = _decode_feature(feature)
    except (ValueError, IndexError, struct.error) as error:
        raise CorruptRecordError(f"not a tf.train.Example: {error}") from None
    return features


def _encode_values(name: str, values: Feature) -> tuple[tuple[int, ...], bytes | memoryview]:
    """Returns the numbers of the fields that values are in, the innermost first, and the values."""
    if isinstance(values, bytes | memoryview):
        return (1, _BYTES_LIST), values
    if not values:
        raise ValueError(f"feature {name!r} is empty")
    if isinstance(values[0], bytes):
        items = [_delimited(1, value) for value in values]  # type: ignore[arg-type]
        return (_BYTES_LIST,), b"".join(items)
    if isinstance(values[0], int):
        integers = [_varint(int(value) & 0xFFFFFFFFFFFFFFFF) for value in values]
        return (1, _INT64_LIST), b"".join(integers)
    return (1, _FLOAT_LIST), struct.pack(f"<{len(values)}f", *values)


def _decode_feature(feature: memoryview) -> list[bytes] | list[int] | list[float]:
    ((kind, content),) = _fields(feature)
    if kind == _BYTES_LIST:
        return [bytes(value) for _, value in _fields(content)]
    ((_, packed),) = _fields(content)
    if kind == _FLOAT_LIST:
        return list(struct.unpack(f"<{len(packed) // 4}f", packed))
    integers = []
    position = 0
    while position < len(packed):
        value, position = _read_varint(packed, position)
        integers.append(value - (1 << 64) if value >> 63 else value)
    return integers


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    position = 0
    while position < len(message):
        tag, position = _read_varint(message, position)
        if tag & 7 != _LENGTH_DELIMITED:
            raise ValueError(f"unexpected wire type {tag & 7}")
        length, position = _read_varint(message, position)
        if position + length > len(message):
            raise ValueError("cut off")
        yield tag >> 3, message[position : position + length]
        position += length


def _read_varint(message: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        value |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:
            return value, position
        shift += 7


def _delimited(field: int, content: bytes) -> bytes:
    return _heads((field,), len(content)) + content


def _heads(fields: Sequence[int], num_bytes: int) -> bytes:
    """Returns what precedes a content inside nested fields, of which the innermost is first."""
    heads = b""
    for field in fields:
        tag = bytes((field << 3 | _LENGTH_DELIMITED,))
        heads = tag + _varint(num_bytes + len(heads)) + heads
    return heads


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _masked_crc(data: bytes) -> int:
    crc: int = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
