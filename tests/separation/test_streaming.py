import os
import tracemalloc

import numpy as np
import pytest
import soundfile
from tiny_models import save_bundle, split_bands
from tones import write_tones

from beam_jobs.audio.decoding import read_header
from beam_jobs.separation.inputs import InputFile, input_version
from beam_jobs.separation.ledger import write_record
from beam_jobs.separation.models import describe_model
from beam_jobs.separation.recording import Recording
from beam_jobs.separation.separator import load_separator
from beam_jobs.separation.streaming import Failure, separate_recordings
from beam_jobs.storage.files import OutputError
from schemas.ledger import LedgerRecord, Parameters


@pytest.fixture(scope="session")
def loaded(bundle):
    model = describe_model(str(bundle))
    return model, load_separator(model)


def recording(path):
    path = str(path)
    return Recording(
        InputFile(path, os.path.basename(path)), input_version(path), read_header(path)
    )


def separate(loaded, paths, output, **parameters):
    model, separator = loaded
    return list(
        separate_recordings(
            [recording(path) for path in paths],
            model=model,
            separator=separator,
            parameters=Parameters(**parameters),
            output=str(output),
        )
    )


def low_tone(num_samples, sample_rate, channel=0):
    return 0.3 * np.sin(2 * np.pi * (200 + 50 * channel) * np.arange(num_samples) / sample_rate)


@pytest.mark.parametrize("sample_rate", [8000, 11025, 44100])
@pytest.mark.parametrize("audio_format", ["wav", "flac"])
@pytest.mark.parametrize("duration_s", [0.01, 0.9, 7.3])
def test_outputs_are_exactly_as_long_as_the_input(
    loaded, tmp_path, sample_rate, audio_format, duration_s
):
    path = write_tones(tmp_path / "call.wav", duration_s, sample_rate)
    (record,) = separate(loaded, [path], tmp_path, audio_format=audio_format)
    assert [one.path for one in record.outputs] == [
        f"call_speaker1.{audio_format}",
        f"call_speaker2.{audio_format}",
    ]
    for output in record.outputs:
        info = soundfile.info(tmp_path / output.path)
        assert (info.frames, info.samplerate) == (record.num_frames, sample_rate)
        assert os.path.getsize(tmp_path / output.path) == output.size


@pytest.mark.parametrize(("sample_rate", "num_frames"), [(16000, 40_001), (44100, 110_250)])
def test_opus_outputs_have_the_next_rate_that_opus_supports(
    loaded, tmp_path, sample_rate, num_frames
):
    path = write_tones(tmp_path / "call.wav", num_frames / sample_rate, sample_rate)
    separate(loaded, [path], tmp_path, audio_format="opus")
    info = soundfile.info(tmp_path / "call_speaker1.opus")
    rate = 16000 if sample_rate == 16000 else 48000
    assert info.samplerate == rate
    assert abs(info.frames - num_frames * rate / sample_rate) <= rate / 8000


def test_outputs_at_the_models_rate(loaded, tmp_path):
    path = write_tones(tmp_path / "call.wav", 2.0, 16000)
    separate(loaded, [path], tmp_path, sample_rate="model")
    samples, rate = soundfile.read(tmp_path / "call_speaker1.wav")
    assert (rate, len(samples)) == (8000, 16_000)
    np.testing.assert_allclose(samples[200:-200], low_tone(16_000, 8000)[200:-200], atol=0.01)


def test_a_file_of_another_rate_is_resampled_there_and_back(loaded, tmp_path):
    path = write_tones(tmp_path / "call.wav", 13.0, 44100)
    separate(loaded, [path], tmp_path)
    samples, _ = soundfile.read(tmp_path / "call_speaker1.wav")
    expected = low_tone(len(samples), 44100)
    np.testing.assert_allclose(samples[2000:-2000], expected[2000:-2000], atol=0.01)


def test_channels_are_separated_one_by_one(loaded, tmp_path):
    path = write_tones(tmp_path / "call.wav", num_channels=3)
    separate(loaded, [path], tmp_path, channels="each")
    samples, rate = soundfile.read(tmp_path / "call_speaker1.wav")
    assert samples.shape == (20_000, 3)
    for channel in range(3):
        expected = low_tone(20_000, rate, channel)
        np.testing.assert_allclose(samples[100:-100, channel], expected[100:-100], atol=0.01)


def test_channels_are_mixed_down_for_a_model_of_one(loaded, tmp_path):
    path = write_tones(tmp_path / "call.wav", num_channels=2)
    separate(loaded, [path], tmp_path)
    samples, rate = soundfile.read(tmp_path / "call_speaker1.wav")
    expected = (low_tone(20_000, rate, 0) + low_tone(20_000, rate, 1)) / 2
    np.testing.assert_allclose(samples[100:-100], expected[100:-100], atol=0.01)


@pytest.mark.parametrize("num_channels", [1, 2])
def test_a_stereo_model_takes_stereo_as_it_is_and_mono_twice(stereo_bundle, tmp_path, num_channels):
    model = describe_model(str(stereo_bundle))
    path = write_tones(tmp_path / "call.wav", num_channels=num_channels)
    separate((model, load_separator(model)), [path], tmp_path)
    samples, rate = soundfile.read(tmp_path / "call_speaker1.wav", always_2d=True)
    assert samples.shape == (20_000, num_channels)
    for channel in range(num_channels):
        expected = low_tone(20_000, rate, channel)
        np.testing.assert_allclose(samples[100:-100, channel], expected[100:-100], atol=0.01)


@pytest.mark.parametrize("encoding", ["ULAW", "ALAW", "GSM610", "PCM_U8", "FLOAT"])
def test_telephone_encodings_are_read(loaded, tmp_path, encoding):
    path = write_tones(tmp_path / "call.wav", subtype=encoding)
    (record,) = separate(loaded, [path], tmp_path)
    samples, _ = soundfile.read(tmp_path / "call_speaker1.wav")
    assert len(samples) == record.num_frames
    error = samples[200:20_000] - low_tone(20_000, 8000)[200:]
    assert np.sqrt((error[:-400] ** 2).mean()) < 0.03


def test_the_outputs_of_a_recording_do_not_depend_on_others_in_the_batch(loaded, tmp_path):
    paths = [
        write_tones(tmp_path / f"{index}.wav", 0.3 + index, num_channels=1 + index % 2)
        for index in range(4)
    ]
    separate(loaded, paths, tmp_path / "together")
    for path in paths:
        separate(loaded, [path], tmp_path / "alone")
    for path in (tmp_path / "alone").iterdir():
        together, _ = soundfile.read(tmp_path / "together" / path.name)
        alone, _ = soundfile.read(path)
        np.testing.assert_allclose(together, alone, atol=2 / 32768)


def test_a_truncated_file_is_named_and_the_rest_goes_on(loaded, tmp_path):
    paths = [write_tones(tmp_path / f"{index}.flac", 12.0) for index in range(3)]
    before = [recording(path) for path in paths]
    paths[1].write_bytes(paths[1].read_bytes()[: paths[1].stat().st_size // 2])
    model, separator = loaded
    first, second, third = separate_recordings(
        before, model=model, separator=separator, parameters=Parameters(), output=str(tmp_path)
    )
    assert isinstance(first, LedgerRecord)
    assert isinstance(third, LedgerRecord)
    assert isinstance(second, Failure)
    assert second.recording.file.path == str(paths[1])
    assert not list(tmp_path.glob("1_*"))


def test_samples_that_are_not_numbers_are_refused(loaded, tmp_path):
    path = write_tones(tmp_path / "call.wav", subtype="FLOAT")
    samples, rate = soundfile.read(path)
    samples[12_345] = np.nan
    soundfile.write(path, samples, rate, subtype="FLOAT")
    (failure,) = separate(loaded, [path], tmp_path)
    assert "not numbers" in str(failure.error)


class _FailsOn:
    """A separator that can't take windows louder than a limit."""

    batch_size = 8
    embedder = None
    sharer = None

    def __init__(self, separator, limit, *, output=None):
        self._separator, self._limit, self._output = separator, limit, output

    def separate(self, windows):
        sources = self._separator.separate(windows)
        loud = np.abs(windows).max(axis=(1, 2)) > self._limit
        if loud.any() and self._output is None:
            raise RuntimeError("too loud")
        sources[loud] = self._output
        return sources


@pytest.mark.parametrize(("output", "reason"), [(None, "too loud"), (np.inf, "infinite")])
def test_a_recording_that_the_model_fails_on_does_not_stop_the_others(
    loaded, tmp_path, output, reason
):
    paths = [write_tones(tmp_path / f"{index}.wav", 3.0) for index in range(3)]
    samples, rate = soundfile.read(paths[1])
    samples[15_000] = 0.99
    soundfile.write(paths[1], samples, rate)
    model, separator = loaded
    failing = (model, _FailsOn(separator, 0.9, output=output))
    first, second, third = separate(failing, paths, tmp_path / "out")
    assert reason in str(second.error)
    assert isinstance(first, LedgerRecord)
    assert isinstance(third, LedgerRecord)
    assert len(list((tmp_path / "out").iterdir())) == 4


class _Meanwhile:
    batch_size = 8
    embedder = None
    sharer = None

    def __init__(self, separator, happen):
        self._separator, self._happen = separator, happen

    def separate(self, windows):
        self._happen()
        return self._separator.separate(windows)


def test_a_file_that_changes_while_it_is_read_is_not_recorded_as_done(loaded, tmp_path):
    path = write_tones(tmp_path / "call.wav")
    model, separator = loaded
    changing = _Meanwhile(separator, lambda: os.utime(path, (1, 1)))
    (failure,) = separate((model, changing), [path], tmp_path / "out")
    assert "changed while it was read" in str(failure.error)
    assert not list((tmp_path / "out").iterdir())


def test_a_place_that_another_job_takes_meanwhile_is_left_to_it(loaded, tmp_path):
    monday, tuesday = (tmp_path / day / "call.wav" for day in ("monday", "tuesday"))
    for path, duration_s in ((monday, 2.0), (tuesday, 3.0)):
        path.parent.mkdir()
        write_tones(path, duration_s)
    out = tmp_path / "out"
    model, separator = loaded
    (record,) = separate(loaded, [monday], out)
    place = InputFile(str(tuesday), tuesday.name)
    overtaken = _Meanwhile(separator, lambda: write_record(str(out), place, record))
    before = [(out / one.path).read_bytes() for one in record.outputs]
    (failure,) = separate((model, overtaken), [tuesday], out)
    assert "would overwrite the outputs of" in str(failure.error)
    assert [(out / one.path).read_bytes() for one in record.outputs] == before


def test_an_output_folder_that_can_not_be_written_ends_the_job(loaded, tmp_path):
    path = write_tones(tmp_path / "call.wav")
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputError, match="can't be written"):
        separate(loaded, [path], tmp_path / "out")


class _CountsWindows:
    batch_size = 8
    embedder = None
    sharer = None

    def __init__(self, separator):
        self._separator = separator
        self.batch_sizes = []

    def separate(self, windows):
        self.batch_sizes.append(len(windows))
        return self._separator.separate(windows)


def test_short_recordings_share_batches(loaded, tmp_path):
    paths = [write_tones(tmp_path / f"{index}.wav", 0.5) for index in range(20)]
    model, separator = loaded
    counting = _CountsWindows(separator)
    separate((model, counting), paths, tmp_path / "out")
    assert counting.batch_sizes == [8, 8, 4]


class _Halves:
    batch_size = 8
    embedder = None
    sharer = None

    def separate(self, windows):
        return np.stack([windows, windows], axis=1) / 2


def test_memory_does_not_grow_with_the_length(loaded, tmp_path):
    peaks = []
    for minutes in (10, 30):
        path = tmp_path / f"{minutes}.wav"
        with soundfile.SoundFile(path, "w", 8000, 1) as file:
            for _ in range(minutes):
                file.write(np.full(60 * 8000, 0.1))
        tracemalloc.start()
        (record,) = separate((loaded[0], _Halves()), [path], tmp_path, rttm=True)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert record.duration_s == minutes * 60
    # How many windows wait for each other differs from run to run, by a megabyte; what is longer
    # would take 38 megabytes, four bytes a sample.
    assert peaks[1] - peaks[0] < 0.1 * 20 * 60 * 8000 * 4


class PitchEmbedder:
    """Tells tones apart, which no embedder of voices does."""

    def embed(self, pieces):
        high = np.abs(np.fft.rfft(pieces, axis=1)).argmax(axis=1) > pieces.shape[1] // 4
        return np.stack([high, ~high], axis=1).astype(np.float32)


def test_a_gate_silences_each_output_where_its_speaker_does_not_speak(tmp_path):
    model = describe_model(str(save_bundle(tmp_path / "joint", split_bands, aligned=False)))
    separator = load_separator(model)
    separator.embedder = PitchEmbedder()
    time_s = np.arange(12 * 8000) / 8000
    low = low_tone(len(time_s), 8000) * ((time_s < 4) | (time_s > 9))
    high = 0.3 * np.sin(2 * np.pi * 3000 * time_s) * (time_s > 5) * (time_s < 8)
    noise = 0.0005 * np.random.default_rng(0).standard_normal(len(time_s))
    soundfile.write(tmp_path / "call.wav", low + high + noise, 8000)
    outputs = {}
    for gate in (False, True):
        folder = tmp_path / str(gate)
        (record,) = separate(
            (model, separator), [tmp_path / "call.wav"], folder, gate=gate, rttm=True
        )
        assert record.parameters.gate == gate
        outputs[gate] = np.stack([soundfile.read(folder / one.path)[0] for one in record.outputs])
        assert (folder / record.rttm.path).read_text().count("SPEAKER") == 3
    quiet = np.stack([(time_s > 4.3) & (time_s < 8.7), (time_s < 4.7) | (time_s > 8.3)])
    assert outputs[False][quiet].any()
    assert not outputs[True][quiet].any()
    spoken = np.stack([time_s < 4, (time_s > 5) & (time_s < 8)])
    np.testing.assert_array_equal(outputs[True][spoken], outputs[False][spoken])
