"""Recordings without a length, since their program was killed, and other lengths in headers."""

import os

import numpy as np
import pytest
import soundfile
from small_datasets import voice

from beam_jobs.audio.decoding import read_blocks, read_header, read_segment
from beam_jobs.audio.types import UnusableAudioError

SAMPLES = voice(120.0, 1.0)

FORMATS = {
    "wav": {"format": "WAV"},
    "float.wav": {"format": "WAV", "subtype": "FLOAT"},
    "mu_law.wav": {"format": "WAV", "subtype": "ULAW"},
    "rf64": {"format": "RF64"},
    "au": {"format": "AU"},
    "little.au": {"format": "AU", "endian": "LITTLE"},
    "mu_law.au": {"format": "AU", "subtype": "ULAW"},
    "aiff": {"format": "AIFF"},
    "caf": {"format": "CAF"},
    "w64": {"format": "W64"},
}


@pytest.mark.parametrize("name", FORMATS)
def test_all_that_a_killed_program_wrote_is_read(tmp_path, name):
    whole, killed = tmp_path / f"whole.{name}", tmp_path / f"killed.{name}"
    with soundfile.SoundFile(whole, "w", 8000, 1, **FORMATS[name]) as file:
        file.write(SAMPLES)
        file.flush()
        killed.write_bytes(whole.read_bytes())
    check_same(killed, whole)


@pytest.mark.parametrize("name", ["au", "little.au", "mu_law.au"])
@pytest.mark.parametrize("length", [0, 0x7FFFFFFF, 0xFFFFFFFF])
def test_any_length_that_stands_for_none_is_one(tmp_path, name, length):
    whole, stream = tmp_path / f"whole.{name}", tmp_path / f"stream.{name}"
    soundfile.write(whole, SAMPLES, 8000, **FORMATS[name])
    content = bytearray(whole.read_bytes())
    content[8:12] = length.to_bytes(4, "little" if content.startswith(b"dns.") else "big")
    stream.write_bytes(content)
    check_same(stream, whole)


@pytest.mark.parametrize("length", [0, -1])
def test_a_long_wav_file_may_have_no_length_either(tmp_path, length):
    whole, stream = tmp_path / "whole.rf64", tmp_path / "stream.rf64"
    soundfile.write(whole, SAMPLES, 8000, format="RF64")
    content = bytearray(whole.read_bytes())
    place = content.index(b"ds64") + 8
    content[place : place + 24] = 3 * length.to_bytes(8, "little", signed=True)
    stream.write_bytes(content)
    check_same(stream, whole)


@pytest.mark.parametrize("name", ["wav", "aiff", "rf64"])
def test_notes_behind_an_empty_recording_are_no_sound(tmp_path, name):
    path = tmp_path / f"empty.{name}"
    soundfile.write(path, np.zeros(0), 8000, **FORMATS[name])
    size = (5000).to_bytes(4, "big" if name == "aiff" else "little")
    path.write_bytes(path.read_bytes() + b"iXML" + size + b"<BWFXML>".ljust(5000))
    with pytest.raises(UnusableAudioError, match="no audio"):
        read_header(str(path))


@pytest.mark.parametrize("name", FORMATS)
def test_an_empty_recording_is_one(tmp_path, name):
    path = tmp_path / f"empty.{name}"
    soundfile.write(path, np.zeros(0), 8000, **FORMATS[name])
    with pytest.raises(UnusableAudioError, match="no audio"):
        read_header(str(path))


@pytest.mark.parametrize("endian", ["BIG", "LITTLE"])
def test_joined_au_files_are_rejected(tmp_path, endian):
    path = tmp_path / "joined.au"
    soundfile.write(path, SAMPLES, 8000, format="AU", endian=endian)
    path.write_bytes(2 * path.read_bytes())
    with pytest.raises(UnusableAudioError, match="several files"):
        read_header(str(path))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda content: content[: len(content) // 2], "ends early: [0-9]+ frames of the 8000"),
        (lambda content: content[:-40], "ends early: [0-9]+ frames of the 8000"),
        (lambda content: 2 * content, "several files"),
    ],
)
def test_compressed_sphere_files_are_whole_or_rejected(tmp_path, change, reason):
    pytest.importorskip("av")
    samples = np.round(SAMPLES * 32768).astype(int)
    path = tmp_path / "a.sph"
    path.write_bytes(shorten_sphere(samples))
    assert read_header(str(path)).num_frames == len(samples)
    np.testing.assert_array_equal(read_segment(str(path), 0, 8000), samples / np.float32(32768))
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(UnusableAudioError, match=reason):
        read_header(str(path))


def test_what_is_not_a_file_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    for path, reason in (
        (tmp_path / "pipe.wav", "not a file"),
        ("/dev/zero", "not a file"),
        (tmp_path, "is a directory"),
    ):
        with pytest.raises(UnusableAudioError, match=reason):
            read_header(str(path))


def test_a_name_that_is_not_utf_8_is_the_reason(tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav")
    with open(path, "wb") as file:
        soundfile.write(file, SAMPLES, 8000, format="WAV")
    with pytest.raises(UnusableAudioError, match="name is not UTF-8: rename it"):
        next(read_blocks(path, 1000))


def check_same(path, expected):
    """Checks that all of a file, and a part of it, are what another one has."""
    whole, _ = soundfile.read(expected, dtype="float32")
    assert read_header(str(path)).num_frames == len(whole) == len(SAMPLES)
    np.testing.assert_array_equal(np.concatenate(list(read_blocks(str(path), 999)))[:, 0], whole)
    np.testing.assert_array_equal(read_segment(str(path), 777, 3000), whole[777:3000])


def shorten_sphere(samples):
    """Encodes 16-bit samples as Shorten does, in the header that LDC's corpora have."""
    bits = []

    def write(value, num_low_bits):
        low = [(value >> bit) & 1 for bit in reversed(range(num_low_bits))]
        bits.extend([0] * (value >> num_low_bits) + [1] + low)

    def write_any(value):
        write(value.bit_length(), 2)
        write(value, value.bit_length())

    block, low_bits = 250, 7
    # 16 bits, one channel, and differences of neighbours instead of a predictor.
    for setting in (5, 1, block, 0, 0, 0):
        write_any(setting)
    differences = np.diff(samples, prepend=0).tolist()
    for start in range(0, len(samples), block):
        write(1, 2)
        write(low_bits, 3)
        for value in differences[start : start + block]:
            write(2 * value if value >= 0 else -2 * value - 1, low_bits + 1)
    write(4, 2)
    header = (
        "NIST_1A\n   1024\nchannel_count -i 1\nsample_rate -i 8000\nsample_n_bytes -i 2\n"
        "sample_byte_format -s2 01\nsample_sig_bits -i 16\n"
        "sample_coding -s26 pcm,embedded-shorten-v2.00\n"
        f"sample_count -i {len(samples)}\nend_head\n"
    )
    packed = np.packbits(np.array(bits + [0] * (-len(bits) % 32), np.uint8)).tobytes()
    return header.encode().ljust(1024, b"\0") + b"ajkg\x02" + packed
