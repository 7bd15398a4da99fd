"""Whatever is wrong with a file is said of that file, and is no other kind of error."""

import os
import subprocess

import numpy as np
import pytest
import soundfile

from beam_jobs.audio.decoding import read_blocks, read_header, read_segment
from beam_jobs.audio.types import UnusableAudioError

CONTENTS = {
    "empty": b"",
    "text": b"buy milk\n" * 50,
    "noise": np.random.default_rng(0).bytes(50000),
    "zeros": bytes(20000),
    "ogg page": b"OggS" + bytes(500),
    "sync words": b"\xff\xfb" * 5000,
    "tag alone": b"ID3\x04\0\0\0\0\0\x10" + bytes(16),
    "endless tag": b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + bytes(100),
    "box without a size": b"\0\0\0\x01ftyp" + bytes(100),
}
SUFFIXES = (".wav", ".mp3", ".flac", ".ogg", ".opus", ".m4a", ".raw", ".amr", ".wma", ".aiff")


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_no_audio_is_unusable(tmp_path, content, suffix):
    path = tmp_path / f"file{suffix}"
    path.write_bytes(CONTENTS[content])
    for read in (read_header, lambda path: read_segment(path, 0, 10)):
        with pytest.raises(UnusableAudioError) as error:
            read(str(path))
        assert str(error.value)
    with pytest.raises(UnusableAudioError):
        list(read_blocks(str(path), 1000))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", ["nowhere", "a\0b", "half a character \ud800", "folder"])
def test_a_name_of_no_file_is_unusable(tmp_path, name, suffix):
    (tmp_path / f"folder{suffix}").mkdir()
    with pytest.raises(UnusableAudioError):
        read_header(os.path.join(tmp_path, name + suffix))


def test_tags_that_are_not_utf_8_do_not_matter(tmp_path):
    path = tmp_path / "a.m4a"
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "sine=duration=1"]
    subprocess.run([*command, "-metadata", b"title=Stra\xdfe", path], check=True)
    assert read_header(str(path)).num_frames >= 44100


@pytest.mark.parametrize("suffix", [".mp3", ".ogg", ".aiff"])
def test_a_wav_file_under_another_name_is_read(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    soundfile.write(path, np.zeros(8000), 8000, format="WAV")
    assert read_header(str(path)).num_frames == 8000
    assert len(read_segment(str(path), 100, 8000)) == 7900
