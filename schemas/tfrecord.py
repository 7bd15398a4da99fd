"""TFRecord files of `tf.train.Example`, without TensorFlow.

Both formats are small and frozen. Written here rather than by protobuf because protobuf promises the
same bytes only within one version of itself, and the bytes of a shard are what its digest, its resume
and every comparison between runners stand on.

Sources: https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details,
tensorflow/core/example/{example,feature}.proto, https://protobuf.dev/programming-guides/encoding.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO

import google_crc32c

FeatureValue = bytes | Sequence[bytes] | Sequence[int] | Sequence[float]
"""One feature: bytes stand for a list of one; the type of the first value decides the list's type."""

_BYTES_LIST, _FLOAT_LIST, _INT64_LIST = 1, 2, 3
_LENGTH_DELIMITED = 2


class CorruptRecordError(ValueError):
    """A TFRecord file is cut off, a checksum fails, or a record is not a `tf.train.Example`."""


def write_record(file: BinaryIO, payload: bytes) -> int:
    """Appends one record and returns the number of bytes that it takes in the file."""
    length = struct.pack("<Q", len(payload))
    file.write(length + struct.pack("<I", _masked_crc(length)))
    file.write(payload)
    file.write(struct.pack("<I", _masked_crc(payload)))
    return len(payload) + 16


def read_records(file: BinaryIO) -> Iterator[bytes]:
    """Yields the payload of each record, every checksum verified.

    Raises:
        CorruptRecordError: with the offset of the record at fault.
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


def encode_example(features: Mapping[str, FeatureValue]) -> bytes:
    """Serialises a `tf.train.Example`, features in the order of their names.

    Raises:
        ValueError: an empty feature, whose type nothing would tell.
    """
    entries = []
    for name in sorted(features):
        feature = _encode_feature(name, features[name])
        key = name.encode()
        entry = b"".join((_tag(1), _varint(len(key)), key, _tag(2), _varint(len(feature)), feature))
        entries += [_tag(1), _varint(len(entry)), entry]
    body = b"".join(entries)
    return b"".join((_tag(1), _varint(len(body)), body))


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


def _encode_feature(name: str, values: FeatureValue) -> bytes:
    if isinstance(values, bytes):
        values = (values,)
    if not len(values):
        raise ValueError(f"feature {name!r} is empty")
    first = values[0]
    if isinstance(first, bytes):
        kind = _BYTES_LIST
        parts = [part for value in values for part in (_tag(1), _varint(len(value)), value)]  # type: ignore[arg-type]
        content = b"".join(parts)  # type: ignore[arg-type]
    elif isinstance(first, int):
        kind = _INT64_LIST
        packed = b"".join(_varint(value & 0xFFFFFFFFFFFFFFFF) for value in values)  # type: ignore[operator]
        content = _tag(1) + _varint(len(packed)) + packed
    else:
        kind = _FLOAT_LIST
        packed = struct.pack(f"<{len(values)}f", *values)
        content = _tag(1) + _varint(len(packed)) + packed
    return b"".join((_tag(kind), _varint(len(content)), content))


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


def _tag(field: int) -> bytes:
    return bytes((field << 3 | _LENGTH_DELIMITED,))


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _masked_crc(data: bytes) -> int:
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
