"""Small corpora of each layout, from generated audio, are catalogued as the job does it."""

import builtins
import json
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import av
import numpy as np
import pytest
from spoken_corpora import RATE, catalogue, speak, write_lines

from beam_jobs import build_mixtures, corpora
from beam_jobs.audio.decoding import read_blocks, read_header, read_segment
from beam_jobs.runtime.dead_letters import Rejected
from schemas.recipe import Utterance


def described(utterance: Utterance) -> tuple[str, str, str, str, int, int]:
    return (
        utterance.path,
        utterance.speaker,
        utterance.gender,
        utterance.split,
        utterance.start,
        utterance.stop,
    )


class TestVctk:
    def test_each_utterance_is_taken_from_one_microphone(self, tmp_path: Path) -> None:
        for microphone in ("mic1", "mic2"):
            speak(tmp_path / f"wav48_silence_trimmed/p225/p225_001_{microphone}.flac")
        speak(tmp_path / "wav48_silence_trimmed/s5/s5_001_mic1.flac")
        (tmp_path / "speaker-info.txt").write_text(
            "ID  AGE  GENDER  ACCENTS  REGION COMMENTS\np225  23  F    English    England\n"
            "s5  22  M    British\n"
        )
        utterances, rejected = catalogue(tmp_path)
        assert {name: described(one)[:3] for name, one in utterances.items()} == {
            "p225_001": ("wav48_silence_trimmed/p225/p225_001_mic1.flac", "p225", "f"),
            "s5_001": ("wav48_silence_trimmed/s5/s5_001_mic1.flac", "s5", "m"),
        }
        assert not rejected

    def test_the_first_release_names_speakers_without_their_letter(self, tmp_path: Path) -> None:
        speak(tmp_path / "wav48/p226/p226_001.wav")
        (tmp_path / "speaker-info.txt").write_text(
            "ID  AGE  GENDER\n226  22  M    English Surrey\n"
        )
        utterances, _ = catalogue(tmp_path)
        assert utterances["p226_001"].gender == "m"


class TestCommonVoice:
    HEADER = "client_id\tpath\tsentence\tgender"

    def test_the_lists_say_who_speaks_and_in_which_split(self, tmp_path: Path) -> None:
        for name in ("a.mp3", "b.mp3", "c.mp3"):
            speak(tmp_path / "clips" / name)
        rows = ['ada\ta.mp3\tShe said "no\t female_feminine', "bob\tb.mp3\tYes.\tmale"]
        write_lines(tmp_path / "train.tsv", [self.HEADER, rows[0]])
        write_lines(tmp_path / "test.tsv", [self.HEADER, rows[1]])
        write_lines(tmp_path / "validated.tsv", [self.HEADER, *rows, "cyd\tc.mp3\tOh.\t"])
        utterances, rejected = catalogue(tmp_path)
        assert {name: described(one)[:4] for name, one in utterances.items()} == {
            "a": ("clips/a.mp3", "ada", "f", "train"),
            "b": ("clips/b.mp3", "bob", "m", "test"),
            "c": ("clips/c.mp3", "cyd", "", ""),
        }
        assert not rejected

    def test_a_list_may_be_named_alone(self, tmp_path: Path) -> None:
        for name in ("a.mp3", "b.mp3"):
            speak(tmp_path / "clips" / name)
        write_lines(tmp_path / "validated.tsv", [self.HEADER, "ada\ta.mp3\t\t", "bob\tb.mp3\t\t"])
        mine = write_lines(tmp_path / "mine.tsv", [self.HEADER, "ada\ta.mp3\t\t"])
        assert set(catalogue(mine)[0]) == {"a"}

    def test_a_line_cut_short_and_a_missing_clip_are_named(self, tmp_path: Path) -> None:
        speak(tmp_path / "clips/b.mp3")
        path = write_lines(
            tmp_path / "train.tsv", [self.HEADER, "ada", "ada\ta.mp3\t\t", "bob\tb.mp3\t\t"]
        )
        utterances, rejected = catalogue(tmp_path)
        assert set(utterances) == {"b"}
        assert rejected[0] == Rejected(f"{path}:2", "1 fields where 4 belong")
        assert rejected[1].path == str(tmp_path / "clips/a.mp3")
        assert rejected[1].reason.endswith(f"named in {path}:3")


class TestKaldi:
    def test_segments_are_time_ranges_of_the_recordings(self, tmp_path: Path) -> None:
        long = speak(tmp_path / "audio/long.wav", 10)
        write_lines(tmp_path / "wav.scp", [f"rec1 {long}"])
        write_lines(tmp_path / "utt2spk", ["u1 ada", "u2 bob"])
        write_lines(tmp_path / "segments", ["u1 rec1 0.50 2.25", "u2 rec1 7.5 -1"])
        write_lines(tmp_path / "spk2gender", ["ada f", "bob m"])
        utterances, rejected = catalogue(tmp_path)
        assert {name: described(one) for name, one in utterances.items()} == {
            "u1": ("audio/long.wav", "ada", "f", "", 4000, 18000),
            "u2": ("audio/long.wav", "bob", "m", "", 60000, 80000),
        }
        assert not rejected

    def test_without_segments_each_recording_is_an_utterance(self, tmp_path: Path) -> None:
        speak(tmp_path / "a b.wav")
        write_lines(tmp_path / "wav.scp", ["u1 a b.wav"])
        write_lines(tmp_path / "utt2spk", ["u1 ada"])
        utterances, _ = catalogue(tmp_path)
        assert described(utterances["u1"]) == ("a b.wav", "ada", "", "", 0, RATE)

    def test_pipes_are_not_run(self, tmp_path: Path) -> None:
        ran = tmp_path / "ran"
        path = write_lines(tmp_path / "wav.scp", [f"u1 touch {ran} |"])
        write_lines(tmp_path / "utt2spk", ["u1 ada"])
        utterances, (rejected,) = catalogue(tmp_path)
        assert not utterances
        assert not ran.exists()
        assert rejected.path == f"{path}:1"
        assert rejected.reason.startswith("a pipe")

    def test_entries_that_nothing_uses_are_counted(self, tmp_path: Path) -> None:
        for name in ("a", "b"):
            speak(tmp_path / f"{name}.wav")
        recordings = write_lines(tmp_path / "wav.scp", ["a a.wav", "b b.wav"])
        speakers = write_lines(tmp_path / "utt2spk", ["a ada", "b bob", "c cy", "d dan"])
        utterances, rejected = catalogue(tmp_path)
        assert sorted(utterances) == ["a", "b"]
        assert [(one.path, one.reason) for one in rejected] == [
            (str(speakers), "entries that wav.scp does not name: 2, such as 'c'")
        ]
        write_lines(tmp_path / "segments", ["d a 0 0.5", "c a 0.5 what"])
        utterances, rejected = catalogue(tmp_path)
        assert sorted(utterances) == ["d"]
        assert [(one.path, one.reason) for one in rejected][1:] == [
            (str(speakers), "entries that segments does not name: 2, such as 'a'"),
            (str(recordings), "entries that segments does not name: 1, such as 'b'"),
        ]

    def test_ranges_outside_their_file_and_unknown_names_are_rejected(self, tmp_path: Path) -> None:
        speak(tmp_path / "long.wav", 10)
        write_lines(tmp_path / "wav.scp", ["rec1 long.wav"])
        write_lines(tmp_path / "utt2spk", ["u1 ada", "u2 ada", "u3 ada", "u4 ada", "u6 ada"])
        path = write_lines(
            tmp_path / "segments",
            [
                "u1 rec1 9 10.01",
                "u2 rec1 9 10.5",
                "u3 rec1 12 -1",
                "u4 rec2 1 2",
                "u5 rec1 1 2",
                "u6 rec1 one 2",
            ],
        )
        utterances, rejected = catalogue(tmp_path)
        assert described(utterances.pop("u1"))[4:] == (9 * RATE, 10 * RATE)
        assert not utterances
        assert [one.reason for one in rejected] == [
            f"a time range outside the file: 9 to 10.5 s of 10 s: named in {path}:2",
            f"a time range outside the file: 12 to 10 s of 10 s: named in {path}:3",
            "recording 'rec2' is not in wav.scp",
            "utterance 'u5' has no speaker in utt2spk",
            "'start' is not a number of seconds: 'one'",
        ]


class TestNemo:
    def test_offsets_are_time_ranges_of_long_files(self, tmp_path: Path) -> None:
        speak(tmp_path / "audio/long.wav", 10)
        whole = speak(tmp_path / "audio/whole.wav")
        manifest = write_lines(
            tmp_path / "train.json",
            [
                {"audio_filepath": "audio/long.wav", "offset": 1, "duration": 2.5, "speaker": 7},
                {"audio_filepath": str(whole), "duration": 1.04, "label": "bob", "text": "hi"},
            ],
        )
        utterances, rejected = catalogue(manifest)
        assert {name: described(one) for name, one in utterances.items()} == {
            "audio/long-1.00-3.50": ("audio/long.wav", "7", "", "", 8000, 28000),
            "audio/whole": ("audio/whole.wav", "bob", "", "", 0, 8000),
        }
        assert not rejected

    def test_broken_rows_are_named_with_their_line_and_the_rest_goes_on(
        self, tmp_path: Path
    ) -> None:
        speak(tmp_path / "a.wav")
        good = {"audio_filepath": "a.wav", "speaker": "ada"}
        path = write_lines(
            tmp_path / "train.jsonl",
            [
                '{"audio_filepath": "a.wav", ',
                {"audio_filepath": "a.wav"},
                "[1]",
                good | {"offset": 0.5, "duration": "long"},
                good | {"audio_filepath": "missing.wav"},
                "",
                good,
            ],
        )
        utterances, rejected = catalogue(path)
        assert set(utterances) == {"a"}
        assert [one.path for one in rejected[:4]] == [f"{path}:{line}" for line in (1, 2, 3, 4)]
        assert [one.reason.partition(":")[0] for one in rejected] == [
            "not JSON",
            "no 'speaker' or 'label'",
            "not a JSON object",
            "'duration' is not a number of seconds",
            "no such file or directory",
        ]
        assert rejected[4].reason.endswith(f"named in {path}:5")

    def test_a_manifest_may_name_files_elsewhere(self, tmp_path: Path) -> None:
        audio = speak(tmp_path / "audio/a.wav")
        row = {"audio_filepath": "../audio/a.wav", "speaker": "ada"}
        manifest = write_lines(tmp_path / "lists/train.json", [row])
        utterances, rejected = catalogue(manifest)
        assert [one.path for one in utterances.values()] == [str(audio)]
        assert not rejected


def recording(path: str, **fields: object) -> dict[str, object]:
    source = {"type": "file", "channels": [0], "source": path}
    return {"id": "rec1", "sources": [source], "sampling_rate": RATE} | fields


class TestLhotse:
    SUPERVISION: Mapping[str, object] = {
        "id": "sup1",
        "recording_id": "rec1",
        "start": 0.5,
        "duration": 2,
        "channel": 0,
        "speaker": "ada",
        "gender": "Female",
    }

    def test_a_supervision_counts_from_the_start_of_its_cut(self, tmp_path: Path) -> None:
        speak(tmp_path / "long.wav", 10)
        cut = {
            "id": "cut1",
            "start": 3,
            "duration": 4,
            "supervisions": [self.SUPERVISION, dict(self.SUPERVISION, id="sup2", start=2)],
            "recording": recording("long.wav"),
            "type": "MonoCut",
        }
        utterances, rejected = catalogue(write_lines(tmp_path / "cuts.jsonl.gz", [cut]))
        assert {name: described(one) for name, one in utterances.items()} == {
            "sup1": ("long.wav", "ada", "f", "", 28000, 44000),
            "sup2": ("long.wav", "ada", "f", "", 40000, 56000),
        }
        assert not rejected

    def test_supervisions_find_the_recordings_beside_them(self, tmp_path: Path) -> None:
        speak(tmp_path / "long.wav", 10)
        write_lines(tmp_path / "x_recordings_train.jsonl.gz", [recording("long.wav")])
        path = write_lines(
            tmp_path / "x_supervisions_train.jsonl.gz",
            [self.SUPERVISION, dict(self.SUPERVISION, id="sup2", recording_id="rec2")],
        )
        utterances, (rejected,) = catalogue(path)
        assert described(utterances["sup1"]) == ("long.wav", "ada", "f", "", 4000, 20000)
        assert rejected.path == f"{path}:2"
        assert "'rec2'" in rejected.reason

    @pytest.mark.parametrize(
        ("cut", "reason"),
        [
            ({"supervisions": [{}]}, "no 'recording'"),
            ({"supervisions": ["x"], "recording": recording("a.wav")}, "no 'supervisions'"),
            ({"supervisions": [{}], "recording": {"sources": 1}}, "no 'sources'"),
            (
                {"supervisions": [SUPERVISION], "recording": recording("a", transforms=[{}])},
                "not a plain file",
            ),
            (
                {
                    "supervisions": [dict(SUPERVISION, channel=None)],
                    "recording": {
                        "sources": [{"type": "file", "channels": [0, 1], "source": "a.wav"}]
                    },
                },
                "one channel of several",
            ),
            (
                {
                    "supervisions": [dict(SUPERVISION, channel=[0, 1])],
                    "recording": {
                        "sources": [{"type": "file", "channels": [0, 1], "source": "a.wav"}]
                    },
                },
                "several channels",
            ),
            (
                {"supervisions": [dict(SUPERVISION, channel=1)], "recording": recording("a.wav")},
                "no channel 1 in its recording",
            ),
        ],
    )
    def test_cuts_that_are_no_stretch_of_a_file_are_rejected(
        self, tmp_path: Path, cut: Mapping[str, object], reason: str
    ) -> None:
        path = write_lines(tmp_path / "cuts.jsonl", [{"start": 0} | dict(cut)])
        utterances, (rejected,) = catalogue(path)
        assert not utterances
        assert rejected.path == f"{path}:1"
        assert rejected.reason.startswith(reason)


class TestCommandLine:
    def test_a_file_that_is_no_manifest_is_said_before_anything_runs(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        notes = write_lines(tmp_path / "notes.txt", ["buy milk"])
        output = tmp_path / "dataset"
        assert build_mixtures.main([f"--corpus={notes}", f"--output={output}"]) == 1
        assert f"--corpus={notes}: not a manifest that is known" in capsys.readouterr().err
        assert not output.exists()

    def test_manifests_and_folders_make_one_dataset(self, tmp_path: Path) -> None:
        rows = []
        for number in range(8):
            speak(tmp_path / f"lists/audio/{number}.wav", 4, seed=number)
            row = {"audio_filepath": f"audio/{number}.wav", "offset": 1, "duration": 2}
            rows.append(row | {"speaker": f"nemo{number % 4}"})
            speak(tmp_path / f"folders/speaker{number % 4}/{number}.wav", 2, seed=10 + number)
        rows.append({"audio_filepath": "audio/1.wav"})
        manifest = write_lines(tmp_path / "lists/train.json", rows)
        output = tmp_path / "dataset"
        arguments = [
            f"--corpus={manifest}",
            f"--corpus={tmp_path / 'folders'}",
            f"--output={output}",
            "--num_shards=1",
            "--splits=train=1",
            "--sample_rate=8000",
            "--direct_num_workers=1",
        ]
        assert build_mixtures.main(arguments) == 3
        (rejected,) = (output / "rejected.jsonl").read_text().splitlines()
        assert json.loads(rejected)["path"] == f"{manifest}:9"
        sources = [
            source
            for line in (output / "recipes/train-00000-of-00001.jsonl").read_text().splitlines()
            for source in json.loads(line)["sources"]
        ]
        assert {source["corpus"] for source in sources} == {"train", "folders"}
        ranges = {(one["start"], one["stop"]) for one in sources if one["corpus"] == "train"}
        assert ranges == {(RATE, 3 * RATE)}


def encode(path: Path, codec: str, samples: np.ndarray, container: str | None = None) -> Path:
    """Writes float32 [channels, samples] by PyAV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    layout = "mono" if len(samples) == 1 else "stereo"
    with av.open(str(path), "w", format=container) as output:
        stream = output.add_stream(codec, rate=RATE, layout=layout)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=layout)
        frame.sample_rate = RATE
        sample_format = stream.codec_context.codec.audio_formats[-1].name
        converter = av.AudioResampler(format=sample_format, frame_size=1024)
        for part in (*converter.resample(frame), *converter.resample(None), None):
            for packet in stream.encode(part):
                output.mux(packet)
    return path


@pytest.fixture
def without_pyav(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    original: Callable[..., object] = builtins.__import__

    def refuse(name: str, *arguments: object, **options: object) -> object:
        if name == "av":
            raise ImportError(name)
        return original(name, *arguments, **options)

    monkeypatch.delitem(sys.modules, "beam_jobs.audio.pyav_decoding", raising=False)
    monkeypatch.setattr(builtins, "__import__", refuse)
    yield
    sys.modules.pop("beam_jobs.audio.pyav_decoding", None)


class TestPyAv:
    TONE = np.stack(
        [0.5 * np.sin(2 * np.pi * hertz * np.arange(2 * RATE) / RATE) for hertz in (440, 1000)]
    ).astype(np.float32)

    @pytest.mark.parametrize(
        ("name", "codec", "container"),
        [("a.m4a", "aac", None), ("a.aac", "aac", "adts"), ("a.m4a", "alac", None)],
    )
    def test_what_the_header_promises_is_what_can_be_read(
        self, tmp_path: Path, name: str, codec: str, container: str | None
    ) -> None:
        path = str(encode(tmp_path / name, codec, self.TONE[:1], container))
        header = read_header(path)
        assert (header.sample_rate, header.num_channels) == (RATE, 1)
        samples = read_segment(path, 0, header.num_frames)
        assert samples.shape == (header.num_frames,)
        assert samples.dtype == np.float32
        assert np.std(samples) == pytest.approx(0.5 / np.sqrt(2), rel=0.1)
        part = read_segment(path, 5000, 9000)
        np.testing.assert_array_equal(part, samples[5000:9000])
        blocks = list(read_blocks(path, 3000))
        np.testing.assert_array_equal(np.concatenate(blocks)[:, 0], samples)

    def test_channels_are_picked_or_averaged(self, tmp_path: Path) -> None:
        path = str(encode(tmp_path / "a.m4a", "alac", self.TONE))
        np.testing.assert_allclose(read_segment(path, 0, 8000, 1), self.TONE[1, :8000], atol=1e-4)
        np.testing.assert_allclose(
            read_segment(path, 0, 8000), self.TONE[:, :8000].mean(axis=0), atol=1e-4
        )

    def test_a_broken_file_is_rejected_and_the_rest_goes_on(self, tmp_path: Path) -> None:
        encode(tmp_path / "ada/good.m4a", "aac", self.TONE[:1])
        (tmp_path / "ada/text.m4a").write_text("not audio" * 100)
        (tmp_path / "ada/empty.m4a").touch()
        utterances, rejected = catalogue(tmp_path)
        assert set(utterances) == {"ada/good"}
        assert sorted(one.path for one in rejected) == [
            str(tmp_path / "ada/empty.m4a"),
            str(tmp_path / "ada/text.m4a"),
        ]

    @pytest.mark.usefixtures("without_pyav")
    def test_without_the_extra_the_remedy_is_said(self, tmp_path: Path) -> None:
        encode_free = tmp_path / "ada/a.m4a"
        encode_free.parent.mkdir()
        encode_free.write_bytes(b"anything")
        _, (rejected,) = catalogue(tmp_path)
        assert "pip install 'spleeter-beam[av]'" in rejected.reason


class TestOnesOwn:
    def test_the_layout_that_the_documentation_shows_works(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        document = Path(__file__).parents[2] / "docs/corpora.md"
        code = document.read_text().split("```python\n")[1].split("```")[0]
        layout = types.ModuleType("timit")
        exec(code, vars(layout))
        monkeypatch.setattr(corpora, "LAYOUTS", (layout, *corpora.LAYOUTS))
        speak(tmp_path / "TRAIN/DR1/FCJF0/SA1.WAV")
        utterances, _ = catalogue(tmp_path)
        assert described(utterances["FCJF0-SA1"])[1:4] == ("FCJF0", "f", "train")
