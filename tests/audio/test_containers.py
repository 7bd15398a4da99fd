"""Every container and codec: the length, the samples and the ranges that FFmpeg decodes."""

import concurrent.futures
import io
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from small_datasets import voice

from beam_jobs.audio import decoded_once, decoding, mp3
from beam_jobs.audio.decoding import read_blocks, read_header, read_segment
from beam_jobs.audio.ogg import find_streams, with_granule
from beam_jobs.audio.types import UnusableAudioError

av = pytest.importorskip("av")

DURATION_S = 4.0

# Files by how they are encoded: rate in Hz, channels, and the arguments of FFmpeg.
KINDS = {
    "xing.mp3": (48000, 1, "-c:a libmp3lame -b:a 48k"),
    "no_xing.mp3": (48000, 1, "-c:a libmp3lame -b:a 48k -write_xing 0 -id3v2_version 0"),
    "tags.mp3": (32000, 1, "-b:a 48k -write_xing 0 -write_id3v1 1 -metadata title=Interview"),
    "vbr.mp3": (44100, 1, "-c:a libmp3lame -q:a 6 -write_xing 0"),
    "joint.mp3": (44100, 2, "-c:a libmp3lame -q:a 4"),
    "joint_lsf.mp3": (22050, 2, "-c:a libmp3lame -b:a 32k -write_xing 0"),
    "lsf_16k.mp3": (16000, 1, "-c:a libmp3lame -q:a 6 -write_xing 0"),
    "lsf_24k.mp3": (24000, 1, "-c:a libmp3lame -b:a 8k -write_xing 0"),
    "mpeg_2.5.mp3": (8000, 1, "-c:a libmp3lame -b:a 16k"),
    "layer_2.mp3": (44100, 2, "-c:a mp2 -f mp2"),
    "mp3.wav": (22050, 1, "-c:a libmp3lame -b:a 32k"),
    "mp3.mka": (22050, 1, "-c:a libmp3lame -b:a 32k"),
    "vorbis.ogg": (22050, 1, "-c:a libvorbis"),
    "vorbis.mka": (22050, 2, "-c:a libvorbis"),
    "opus.opus": (48000, 1, "-c:a libopus -b:a 64k -application audio"),
    "opus.webm": (48000, 1, "-c:a libopus -b:a 64k -application audio"),
    "flac.flac": (22050, 2, "-c:a flac"),
    "flac.oga": (22050, 1, "-c:a flac -f ogg"),
    "aac.m4a": (22050, 1, "-c:a aac"),
    "aac.aac": (22050, 2, "-c:a aac"),
    "alac.m4a": (44100, 2, "-c:a alac"),
    "gsm.wav": (8000, 1, "-c:a libgsm_ms"),
    "adpcm.wav": (22050, 1, "-c:a adpcm_ms"),
    "g726.wav": (8000, 1, "-c:a g726"),
    "ac3.wav": (32000, 1, "-c:a ac3"),
    "ac3.ac3": (32000, 2, "-c:a ac3"),
    "wma.wma": (22050, 1, "-c:a wmav2"),
    "wavpack.wv": (22050, 2, "-c:a wavpack"),
    "tta.tta": (22050, 1, "-c:a tta"),
    "pcm.wav": (22050, 2, "-c:a pcm_s24le"),
    "float.wav": (22050, 1, "-c:a pcm_f32le"),
    "pcm.aiff": (22050, 1, "-c:a pcm_s16be"),
    "pcm.au": (22050, 1, "-c:a pcm_s16be"),
    "pcm.w64": (22050, 1, "-c:a pcm_s16le"),
    "pcm.rf64": (22050, 1, "-c:a pcm_s16le -rf64 always -f wav"),
    "pcm.caf": (22050, 1, "-c:a pcm_s16le"),
    "alac.caf": (22050, 1, "-c:a alac"),
    "opus.caf": (48000, 1, "-c:a libopus"),
    "pcm.sph": (22050, 2, "-c:a pcm_s16le"),
}
MP3S = [name for name in KINDS if name.endswith(".mp3") and name != "layer_2.mp3"]


def ffmpeg(*arguments, stdin=b""):
    if shutil.which("ffmpeg") is None:
        pytest.skip("FFmpeg is not installed")
    command = ["ffmpeg", "-v", "error", "-y", *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, check=True).stdout


def speech(sample_rate, num_channels, duration_s=DURATION_S, seed=0):
    """Something with syllables, pauses and hisses, float32 [samples, channels]."""
    rng = np.random.default_rng(seed)
    parts = []
    while sum(map(len, parts)) < duration_s * sample_rate:
        syllable = voice(rng.uniform(80, 250), rng.uniform(0.08, 0.3), sample_rate, 0.2)
        hiss = rng.normal(0, 0.03, round(rng.uniform(0, 0.1) * sample_rate))
        pause = np.zeros(round(rng.choice([0, 0, 0.1]) * sample_rate))
        parts += [syllable * np.hanning(len(syllable)), hiss, pause]
    one = np.concatenate(parts)[: round(duration_s * sample_rate)].astype(np.float32)
    return np.stack([one, 0.5 * np.roll(one, 50)][:num_channels], axis=1)


def encode(path, sample_rate, num_channels, arguments, **speech_options):
    """Writes an encoded file; returns its path as text."""
    samples = speech(sample_rate, num_channels, **speech_options)
    if path.suffix == ".sph":
        # FFmpeg reads these and writes none.
        soundfile.write(path, samples, sample_rate, "PCM_16", format="NIST")
        return str(path)
    raw = ("-f", "f32le", "-ar", sample_rate, "-ac", num_channels, "-i", "-")
    ffmpeg(*raw, *arguments.split(), path, stdin=samples.tobytes())
    return str(path)


def decode(path, num_channels):
    """What FFmpeg decodes, float32 [samples, channels]."""
    content = ffmpeg("-i", path, "-f", "f32le", "-")
    return np.frombuffer(content, np.float32).reshape(-1, num_channels)


def read_all(path):
    """What the product decodes, float32 [samples, channels]."""
    return np.concatenate(list(read_blocks(str(path), 10000)))


def read_all_that_the_header_says(path):
    assert len(read_all(path)) == read_header(path).num_frames


def join(path, *parts):
    path.write_bytes(b"".join(Path(part).read_bytes() for part in parts))
    return str(path)


@pytest.fixture(scope="module")
def encoded(tmp_path_factory):
    """Gives the path of a kind of file, which is made when it is asked for."""
    folder = tmp_path_factory.mktemp("encoded")

    def path_of(name, seed=0, duration_s=DURATION_S):
        path = folder / f"{seed}_{duration_s}_{name}"
        if not path.exists():
            encode(path, *KINDS[name], seed=seed, duration_s=duration_s)
        return str(path)

    return path_of


@pytest.mark.parametrize("name", KINDS)
def test_the_whole_is_what_ffmpeg_decodes(encoded, name):
    path = encoded(name)
    header = read_header(path)
    sample_rate, num_channels, _ = KINDS[name]
    assert (header.sample_rate, header.num_channels) == (sample_rate, num_channels)
    expected = decode(path, num_channels)
    assert header.num_frames == len(expected)
    assert header.num_frames == pytest.approx(DURATION_S * sample_rate, abs=0.2 * sample_rate)
    np.testing.assert_allclose(read_all(path), expected, atol=2e-5)


@pytest.mark.parametrize("name", KINDS)
def test_a_range_is_that_range_of_the_whole(encoded, name):
    path = encoded(name)
    whole = read_all(path)
    rng = np.random.default_rng(1)
    for _ in range(8):
        start = int(rng.integers(0, len(whole) - 1))
        stop = int(rng.integers(start + 1, min(start + 20000, len(whole)) + 1))
        part = read_segment(path, start, stop, "stereo" if whole.shape[1] == 2 else 0)
        np.testing.assert_array_equal(part.reshape(stop - start, -1), whole[start:stop])


@pytest.mark.parametrize("quality", [-1, 3, 10])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_range_of_vorbis_is_that_range_of_the_whole(tmp_path, quality, channels):
    arguments = f"-c:a libvorbis -q:a {quality}"
    path = encode(tmp_path / "a.ogg", 16000, channels, arguments, duration_s=20)
    whole = read_all(path)
    for start in range(1, 312000, 13001):
        part = read_segment(path, start, start + 8000, "stereo" if channels == 2 else 0)
        np.testing.assert_array_equal(part.reshape(8000, -1), whole[start : start + 8000])


def test_a_range_at_the_end_of_a_long_ogg_is_found_without_reading_what_is_before(
    tmp_path, monkeypatch
):
    path = encode(tmp_path / "a.ogg", 16000, 1, "-c:a libvorbis", duration_s=120)
    decoded = []
    read = soundfile.SoundFile.read
    monkeypatch.setattr(
        soundfile.SoundFile,
        "read",
        lambda self, frames, **options: decoded.append(frames) or read(self, frames, **options),
    )
    assert len(read_segment(path, 1900000, 1910000)) == 10000
    assert sum(decoded) < 100000


def test_a_range_of_vorbis_without_the_beginning_of_its_stream_is_that_range_of_the_whole(
    encoded, tmp_path
):
    # As radio is recorded: headers, and sound from the middle on.
    content = Path(encoded("vorbis.ogg", duration_s=20.0)).read_bytes()
    pages = [match.start() for match in re.finditer(b"OggS", content)]
    path = tmp_path / "radio.ogg"
    path.write_bytes(content[: pages[2]] + content[pages[len(pages) // 3] :])
    whole = read_all(path)[:, 0]
    assert 10 * 22050 < len(whole) < 15 * 22050
    for start in range(1, len(whole) - 3000, 20001):
        part = read_segment(str(path), start, start + 3000)
        np.testing.assert_array_equal(part, whole[start : start + 3000])


@pytest.mark.parametrize("application", ["voip", "audio"])
def test_a_range_of_opus_at_a_low_bit_rate_is_that_range_of_the_whole(tmp_path, application):
    arguments = f"-c:a libopus -b:a 16k -application {application}"
    path = encode(tmp_path / "a.opus", 16000, 1, arguments, duration_s=20)
    whole = read_all(path)[:, 0]
    for start in range(1, 300000, 40001):
        part = read_segment(path, start, start + 8000)
        np.testing.assert_array_equal(part, whole[start : start + 8000])


@pytest.mark.parametrize("sample_rate", [8000, 16000, 48000])
def test_opus_in_matroska_begins_where_it_does_in_ogg(tmp_path, sample_rate):
    arguments = "-c:a libopus -b:a 64k -application audio"
    ogg, webm = (
        encode(tmp_path / name, sample_rate, 1, arguments) for name in ("a.opus", "a.webm")
    )
    for path in (ogg, webm):
        header = read_header(path)
        assert header.num_frames == DURATION_S * header.sample_rate
        # Both at the rate of the original, of which two seconds are looked for.
        samples = read_all(path)[:, 0][:: header.sample_rate // sample_rate]
        start, length = sample_rate, 2 * sample_rate
        looked_for = speech(sample_rate, 1)[start : start + length, 0]
        found = np.correlate(samples[start - 500 : start + 500 + length], looked_for).argmax()
        assert abs(found - 500) <= 1


@pytest.mark.parametrize("start", [312, 1_000_000])
def test_opus_whose_stream_starts_late_begins_where_its_sound_does(encoded, tmp_path, start):
    content = Path(encoded("opus.opus")).read_bytes()
    (stream,) = find_streams(io.BytesIO(content))
    ends = [*(page.place for page in stream.pages[1:]), len(content)]
    pages = [content[page.place : end] for page, end in zip(stream.pages, ends, strict=True)]
    late = [
        with_granule(page, described.granule + start)
        for page, described in zip(pages[2:], stream.pages[2:], strict=True)
    ]
    path = tmp_path / "late.opus"
    path.write_bytes(b"".join([*pages[:2], *late]))
    expected = read_all(encoded("opus.opus"))
    np.testing.assert_array_equal(read_all(path), expected)
    np.testing.assert_array_equal(read_segment(str(path), 0, len(expected)), expected[:, 0])
    part = read_segment(str(path), 50000, 60000)
    np.testing.assert_allclose(part, expected[50000:60000, 0], atol=0.02)
    np.testing.assert_allclose(decode(path, 1), decode(encoded("opus.opus"), 1), atol=1e-4)


@pytest.mark.parametrize("name", MP3S)
def test_an_mp3_that_was_cut_off_is_read_as_far_as_it_goes(encoded, tmp_path, name):
    whole = read_all(encoded(name))
    content = Path(encoded(name)).read_bytes()
    path = tmp_path / name
    path.write_bytes(content[: len(content) * 2 // 3])
    got = read_all(path)
    assert read_header(str(path)).num_frames == len(got)
    assert len(got) == pytest.approx(len(whole) * 2 / 3, rel=0.15)
    np.testing.assert_array_equal(got, whole[: len(got)])


@pytest.mark.parametrize("name", MP3S)
def test_joined_mp3s_are_read_to_the_end(encoded, tmp_path, name):
    parts = [encoded(name), encoded(name, seed=1, duration_s=2.0), encoded(name)]
    path = join(tmp_path / name, *parts)
    expected = np.concatenate([read_all(part) for part in parts])
    got = read_all(path)
    assert read_header(path).num_frames == len(got) == len(expected)
    # Where encoders state no delay, the parts sound into one another.
    differs = np.abs(got - expected).max(axis=1) > 1e-4
    assert np.count_nonzero(differs) <= 4 * 1152
    rng = np.random.default_rng(2)
    for start in map(int, rng.integers(0, len(got) - 3000, 8)):
        part = read_segment(path, start, start + 3000, 0)
        np.testing.assert_array_equal(part, got[start : start + 3000, 0])


@pytest.mark.parametrize("name", ["vorbis.ogg", "opus.opus"])
def test_chained_ogg_streams_are_read_to_the_end(encoded, tmp_path, name):
    parts = [encoded(name), encoded(name, seed=1, duration_s=2.0), encoded(name)]
    path = join(tmp_path / name, *parts)
    expected = np.concatenate([read_all(part) for part in parts])
    np.testing.assert_array_equal(read_all(path), expected)
    assert read_header(path).num_frames == len(expected)
    for start in range(1, len(expected) - 5000, 50001):
        part = read_segment(path, start, start + 5000)
        np.testing.assert_array_equal(part, expected[start : start + 5000, 0])


@pytest.mark.parametrize("name", ["aac.aac", "ac3.ac3", "opus.webm"])
def test_files_that_ffmpeg_reads_on_after_a_join_are_read_to_the_end(encoded, tmp_path, name):
    path = join(tmp_path / name, encoded(name), encoded(name, seed=1, duration_s=2.0))
    expected = decode(path, KINDS[name][1])
    assert len(expected) > 5.9 * KINDS[name][0]
    np.testing.assert_allclose(read_all(path), expected, atol=2e-5)


@pytest.mark.parametrize(
    "name",
    [
        *("flac.flac", "aac.m4a", "wma.wma", "tta.tta", "pcm.wav", "gsm.wav", "adpcm.wav"),
        *("pcm.aiff", "pcm.au", "pcm.w64", "pcm.rf64", "pcm.caf", "alac.caf", "pcm.sph"),
    ],
)
def test_other_joined_files_are_rejected_with_the_reason(encoded, tmp_path, name):
    path = join(tmp_path / name, encoded(name), encoded(name, seed=1, duration_s=2.0))
    with pytest.raises(UnusableAudioError, match="several files joined into one"):
        read_segment(path, 0, read_header(path).num_frames)
    with pytest.raises(UnusableAudioError, match="several files joined into one"):
        read_all_that_the_header_says(path)


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ("xing.mp3", "lsf_16k.mp3", "changes from 48000 to 16000 Hz after 4.0 s"),
        ("no_xing.mp3", "no_xing.mp3 -ac 2", "changes from 1 to 2 channels after 4.0 s"),
        ("vorbis.ogg", "vorbis.ogg -ar 16000", "changes from 22050 to 16000 Hz after 4.0 s"),
        ("ac3.ac3", "ac3.ac3 -ac 1", "changes from 2 to 1 channels after 4"),
    ],
)
def test_a_file_whose_format_changes_is_rejected_with_the_reason(
    encoded, tmp_path, first, second, reason
):
    name, _, options = second.partition(" ")
    sample_rate, num_channels, arguments = KINDS[name]
    other = encode(tmp_path / f"other_{name}", sample_rate, num_channels, f"{arguments} {options}")
    path = join(tmp_path / first, encoded(first), other)
    with pytest.raises(UnusableAudioError, match=reason):
        read_header(path)


@pytest.mark.parametrize(
    "name",
    [
        *("flac.flac", "pcm.wav", "gsm.wav", "adpcm.wav", "aac.m4a", "pcm.sph", "pcm.caf"),
        *("alac.caf", "pcm.rf64", "pcm.w64", "pcm.aiff", "pcm.au", "opus.webm", "vorbis.mka"),
        *("wma.wma", "wavpack.wv", "tta.tta", "g726.wav"),
    ],
)
def test_other_files_that_were_cut_off_are_rejected(encoded, tmp_path, name):
    content = Path(encoded(name)).read_bytes()
    path = tmp_path / name
    # Of ASF a whole number of its packets.
    path.write_bytes(content[: -2 * 3200 if name == "wma.wma" else len(content) // 2])
    with pytest.raises(UnusableAudioError, match=r"ends early|not decoded"):
        read_segment(str(path), 0, read_header(str(path)).num_frames)


def test_an_m4a_without_its_end_is_said_to_end_early(encoded, tmp_path):
    path = tmp_path / "a.m4a"
    path.write_bytes(Path(encoded("aac.m4a")).read_bytes()[:-5000])
    with pytest.raises(UnusableAudioError, match="ends early"):
        read_header(str(path))


def test_what_was_written_to_a_pipe_is_read_to_its_end(encoded, tmp_path):
    for name in ("flac.flac", "opus.webm"):
        path = tmp_path / name
        path.write_bytes(ffmpeg("-i", encoded(name), "-c", "copy", "-f", path.suffix[1:], "-"))
        np.testing.assert_array_equal(read_all(path), read_all(encoded(name)))
        read_all_that_the_header_says(str(path))


def test_a_recording_whose_program_was_killed_is_read_to_its_end(encoded, tmp_path):
    # Until its end, the header has no length.
    content = Path(encoded("float.wav")).read_bytes()
    place = content.index(b"data") + 4
    path = tmp_path / "a.wav"
    path.write_bytes(content[:4] + bytes(4) + content[8:place] + bytes(4) + content[place + 4 :])
    whole = read_all(encoded("float.wav"))
    np.testing.assert_array_equal(read_all(path), whole)
    np.testing.assert_array_equal(read_segment(str(path), 999, 2000), whole[999:2000, 0])


def test_a_tag_before_flac_does_not_matter(encoded, tmp_path):
    content = Path(encoded("flac.flac")).read_bytes()
    path = tmp_path / "a.flac"
    path.write_bytes(b"ID3\x03\0\0\0\0\x01\0" + bytes(128) + content)
    np.testing.assert_array_equal(read_all(path), read_all(encoded("flac.flac")))


def test_flac_that_goes_on_after_the_length_in_its_header_is_rejected(encoded, tmp_path):
    content = bytearray(Path(encoded("flac.flac")).read_bytes())
    content[22:26] = (int.from_bytes(content[22:26], "big") - 5000).to_bytes(4, "big")
    path = tmp_path / "a.flac"
    path.write_bytes(content)
    with pytest.raises(UnusableAudioError, match="goes on after the 83200 samples"):
        read_all(path)


@pytest.mark.parametrize("arguments", ["-ss 1.3 -i {}/whole.ogg", "-i {}/whole.webm"])
def test_vorbis_that_ffmpeg_copied_is_what_ffmpeg_decodes(tmp_path, arguments):
    # The first begins before its time 0; in the second, pages count in rounded milliseconds.
    for name in ("whole.ogg", "whole.webm"):
        encode(tmp_path / name, 22050, 1, "-c:a libvorbis", duration_s=6.0)
    path = tmp_path / "copy.ogg"
    ffmpeg(*arguments.format(tmp_path).split(), "-c", "copy", path)
    whole = read_all(path)
    np.testing.assert_allclose(whole, decode(path, 1), atol=2e-5)
    assert read_header(str(path)).num_frames == len(whole)
    for start in (1, 30011, 70007, len(whole) - 3000):
        part = read_segment(str(path), start, start + 3000)
        np.testing.assert_array_equal(part, whole[start : start + 3000, 0])


@pytest.mark.parametrize("name", ["aac.m4a", "ac3.ac3", "gsm.wav"])
def test_a_long_file_that_can_not_seek_is_decoded_once_for_all_its_ranges(
    encoded, monkeypatch, name
):
    monkeypatch.setattr(decoded_once, "LONG_S", 0.5)
    opened = []
    monkeypatch.setattr(
        decoding,
        "_open_decoder",
        lambda *arguments, open_one=decoding._open_decoder: (
            opened.append(arguments) or open_one(*arguments)
        ),
    )
    path = encoded(name)
    whole = read_all(path)
    opened.clear()
    starts = [len(whole) * tenths // 10 for tenths in (6, 3, 9, 3, 5)]
    for start in starts:
        stop = min(start + 5000, len(whole))
        part = read_segment(path, start, stop, "stereo" if whole.shape[1] == 2 else 0)
        np.testing.assert_array_equal(part.reshape(stop - start, -1), whole[start:stop])
    assert len(opened) == len(starts) + 1


def test_a_long_file_that_was_replaced_is_decoded_again(encoded, tmp_path, monkeypatch):
    monkeypatch.setattr(decoded_once, "LONG_S", 0.5)
    path = tmp_path / "a.m4a"
    for seed in (0, 1):
        other = encoded("aac.m4a", seed=seed)
        path.write_bytes(Path(other).read_bytes())
        part = read_segment(str(path), 30000, 40000)
        np.testing.assert_array_equal(part, read_all(other)[30000:40000, 0])


def test_ranges_of_a_long_file_are_read_without_room_for_what_was_decoded(
    encoded, tmp_path, monkeypatch
):
    monkeypatch.setattr(decoded_once, "LONG_S", 0.5)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    path = join(tmp_path / "a.m4a", encoded("aac.m4a"))
    part = read_segment(path, 30000, 40000)
    np.testing.assert_array_equal(part, read_all(path)[30000:40000, 0])


def test_sphere_in_shorten_is_read(tmp_path):
    samples = (speech(8000, 1)[:8192, 0] * 32767).astype(np.int16)
    path = tmp_path / "a.sph"
    header = "NIST_1A\n   1024\nsample_rate -i 8000\nsample_count -i 8192\nchannel_count -i 1\n"
    header += "sample_n_bytes -i 2\nsample_coding -s26 pcm,embedded-shorten-v2.00\nend_head\n"
    path.write_bytes(header.encode().ljust(1024) + shorten(samples))
    np.testing.assert_array_equal(read_segment(str(path), 0, 8192) * 32768, samples)
    np.testing.assert_array_equal(read_segment(str(path), 999, 5000) * 32768, samples[999:5000])


def shorten(samples, block=256, energy=9):
    """Shorten's simplest: samples as they are, int16 [samples], a multiple of a block."""
    bits = []

    def put(value, width):
        bits.extend([0] * (value >> width) + [1])
        bits.extend(value >> place & 1 for place in reversed(range(width)))

    # The type of the samples, channels, the length of blocks, and what else is there: nothing.
    for value in (5, 1, block, 0, 0, 0):
        put(max(value.bit_length(), 1), 2)
        put(value, max(value.bit_length(), 1))
    for start in range(0, len(samples), block):
        put(0, 2)
        put(energy, 3)
        for value in samples[start : start + block].tolist():
            put(~value << 1 | 1 if value < 0 else value << 1, energy + 1)
    put(4, 2)
    return b"ajkg\x02" + np.packbits([*bits, *[0] * (-len(bits) % 32)]).tobytes()


@pytest.mark.parametrize("name", ["vorbis.ogg", "opus.opus"])
def test_an_ogg_stream_that_was_cut_off_is_read_as_far_as_it_goes(encoded, tmp_path, name):
    content = Path(encoded(name)).read_bytes()
    path = tmp_path / name
    path.write_bytes(content[: len(content) // 2])
    got, whole = read_all(path), read_all(encoded(name))
    assert 0 < len(got) < len(whole)
    np.testing.assert_array_equal(got, whole[: len(got)])


def test_what_is_before_and_between_the_frames_of_an_mp3_does_not_matter(encoded, tmp_path):
    content = Path(encoded("no_xing.mp3")).read_bytes()
    whole = read_all(encoded("no_xing.mp3"))
    noise = np.random.default_rng(0).bytes(5000)
    cover = b"ID3\x04\0\0" + bytes([0, 0, 39, 8]) + noise
    path = tmp_path / "a.mp3"
    for before in (noise, cover, cover + bytes(1000)):
        path.write_bytes(before + content + b"TAG" + bytes(125))
        assert read_header(str(path)).num_frames == len(whole)
        np.testing.assert_array_equal(read_all(path), whole)
    # All frames are 144 bytes long. Fraunhofer's encoder put its description into the first.
    path.write_bytes((content[:4] + bytes(32) + b"VBRI").ljust(144, b"\0") + content)
    np.testing.assert_array_equal(read_all(path), whole)
    path.write_bytes(content[:14400] + noise + content[14400:])
    got = read_all(path)
    assert len(got) == len(whole)
    wrong = np.flatnonzero(np.abs(got - whole).max(axis=1) > 1e-4)
    assert set(wrong // 1152) <= set(range(99, 112))
    assert np.abs(got).max() <= np.abs(whole).max() * 1.5


def test_mp3_of_a_free_bit_rate_is_said(encoded, tmp_path):
    content = bytearray(Path(encoded("no_xing.mp3")).read_bytes())
    content[2::144] = bytes(byte & 0x0F for byte in content[2::144])
    path = tmp_path / "a.mp3"
    path.write_bytes(content)
    with pytest.raises(UnusableAudioError, match="no MP3 frames that state their bit rate"):
        read_header(str(path))


def test_a_hole_in_an_mp3_that_states_its_length_is_told(encoded, tmp_path):
    content = Path(encoded("xing.mp3")).read_bytes()
    path = tmp_path / "a.mp3"
    path.write_bytes(content[:10000] + bytes(3000) + content[13000:])
    with pytest.raises(UnusableAudioError, match="ends early"):
        read_segment(str(path), 0, read_header(str(path)).num_frames)


def test_mp3_ogg_and_flac_need_no_ffmpeg(encoded, monkeypatch):
    paths = [encoded(name) for name in (*MP3S, "mp3.wav", "vorbis.ogg", "opus.opus", "flac.flac")]
    monkeypatch.setitem(__import__("sys").modules, "beam_jobs.audio.pyav_decoding", None)
    for path in paths:
        assert len(read_all(path)) == read_header(path).num_frames


def test_amr_is_read_whole_and_in_ranges(tmp_path):
    samples = (speech(8000, 1)[:, 0] * 32767).astype(np.int16)
    path = tmp_path / "a.amr"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libopencore_amrnb", rate=8000, layout="mono")
        stream.bit_rate = 12200
        for start in range(0, len(samples), 160):
            frame = av.AudioFrame.from_ndarray(samples[np.newaxis, start : start + 160], "s16")
            frame.sample_rate = 8000
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    whole = read_all(path)
    np.testing.assert_allclose(whole, decode(path, 1), atol=2e-5)
    np.testing.assert_array_equal(read_segment(str(path), 3001, 9000), whole[3001:9000, 0])
    two = join(tmp_path / "two.amr", path, path)
    with pytest.raises(UnusableAudioError, match="several files joined into one"):
        read_header(two)


def test_threads_may_all_read_the_first_mp3_of_a_job(tmp_path):
    path = str(tmp_path / "long.mp3")
    noise = np.random.default_rng(0).normal(0, 0.1, 60 * 8000)
    soundfile.write(path, noise, 8000, format="MP3")
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(5):
            mp3._header_tables.cache_clear()
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                lengths = pool.map(lambda _: sum(map(len, read_blocks(path, 80000))), range(8))
                assert list(lengths) == [len(noise)] * 8
    finally:
        sys.setswitchinterval(interval_s)
