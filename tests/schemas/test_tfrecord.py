import contextlib
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.tfrecord import (
    CorruptRecordError,
    decode_example,
    encode_example,
    read_records,
    write_record,
)

tf = pytest.importorskip("tensorflow")

INT64 = st.integers(-(2**63), 2**63 - 1)
FLOAT32 = st.floats(width=32, allow_nan=False)
VALUES = st.one_of(
    st.lists(st.binary(max_size=40), min_size=1, max_size=4),
    st.lists(INT64, min_size=1, max_size=6),
    st.lists(FLOAT32, min_size=1, max_size=6),
)
FEATURES = st.dictionaries(st.text(max_size=8), VALUES, max_size=5)


def tensorflow_example(features):
    def feature(values):
        if isinstance(values[0], bytes):
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
        if isinstance(values[0], int):
            return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))

    return tf.train.Example(
        features=tf.train.Features(feature={name: feature(features[name]) for name in features})
    )


def tfrecord(*payloads):
    file = io.BytesIO()
    for payload in payloads:
        write_record(file, payload)
    return file.getvalue()


def payloads_of(data):
    return list(read_records(io.BytesIO(data)))


@given(FEATURES)
def test_tensorflow_reads_what_is_encoded(features):
    example = tf.train.Example.FromString(encode_example(features))
    assert example == tensorflow_example(features)


@given(FEATURES)
def test_what_tensorflow_encodes_is_read(features):
    payload = tensorflow_example(features).SerializeToString()
    assert decode_example(payload) == features


@given(FEATURES)
def test_the_order_of_the_features_does_not_change_the_bytes(features):
    assert encode_example(dict(reversed(features.items()))) == encode_example(features)


def test_one_value_of_bytes_may_stand_for_a_list():
    sound = memoryview(b"\1\2\3\4")
    assert encode_example({"sound": sound}) == encode_example({"sound": [b"\1\2\3\4"]})


def test_a_feature_without_values_is_refused_by_name():
    with pytest.raises(ValueError, match="'speakers' is empty"):
        encode_example({"speakers": []})


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_tensorflow_reads_the_file(tmp_path_factory, payloads):
    path = tmp_path_factory.mktemp("tfrecord") / "shard"
    path.write_bytes(tfrecord(*payloads))
    assert list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator()) == payloads


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_a_file_of_tensorflow_is_read(tmp_path_factory, payloads):
    path = tmp_path_factory.mktemp("tfrecord") / "shard"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for payload in payloads:
            writer.write(payload)
    assert payloads_of(path.read_bytes()) == payloads
    assert path.read_bytes() == tfrecord(*payloads)


def test_every_flipped_bit_is_detected():
    data = tfrecord(b"first", b"", encode_example({"id": [b"train-000000001"], "rate": [8000]}))
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CorruptRecordError, match="at byte"):
            payloads_of(bytes(damaged))


@given(st.lists(st.binary(max_size=30), min_size=1, max_size=3), st.data())
def test_a_file_that_is_cut_off_is_detected_unless_between_two_records(payloads, data):
    whole = tfrecord(*payloads)
    ends = [len(tfrecord(*payloads[:count])) for count in range(len(payloads) + 1)]
    length = data.draw(st.integers(0, len(whole) - 1))
    if length in ends:
        assert payloads_of(whole[:length]) == payloads[: ends.index(length)]
    else:
        with pytest.raises(CorruptRecordError, match="cut off"):
            payloads_of(whole[:length])


def test_the_record_at_fault_is_named():
    data = bytearray(tfrecord(b"good", b"damaged"))
    data[-5] ^= 1
    records = read_records(io.BytesIO(bytes(data)))
    assert next(records) == b"good"
    with pytest.raises(CorruptRecordError, match="data checksum in the record at byte 20"):
        next(records)


@given(st.binary(max_size=60))
def test_whatever_is_no_example_ends_in_the_one_error_that_says_so(payload):
    with contextlib.suppress(CorruptRecordError):
        assert isinstance(decode_example(payload), dict)


@given(FEATURES, st.data())
def test_an_example_that_is_cut_off_is_never_taken_for_another_one(features, data):
    payload = encode_example(features)
    cut = payload[: data.draw(st.integers(0, len(payload)))]
    try:
        decoded = decode_example(cut)
    except CorruptRecordError:
        return
    assert decoded == {} or cut == payload
