"""Whatever is wrong with one line of a manifest is that line's dead letter."""

import codecs
import gzip
import json
from pathlib import Path

import pytest
from spoken_corpora import RATE, catalogue, speak, write_lines

from beam_jobs.storage.text import parse_number
from schemas.errors import UserError

GOOD = {"audio_filepath": "a.wav", "speaker": "ada"}


def write_raw(path: Path, *lines: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


class TestNemo:
    @pytest.mark.parametrize(
        ("line", "reason"),
        [
            (json.dumps(GOOD | {"audio_filepath": "a\0b.wav"}), "'audio_filepath' has a NUL"),
            (json.dumps(GOOD | {"speaker": "a\ud800"}), "'speaker' has half a character"),
            (json.dumps(GOOD | {"audio_filepath": "\udcff.wav"}), "'audio_filepath' has half"),
            (json.dumps(GOOD | {"speaker": True}), "no 'speaker' or 'label'"),
            (json.dumps(GOOD | {"speaker": {"a": 1}}), "no 'speaker' or 'label'"),
            ("[" * 100_000, "not JSON that can be read: nested too deeply"),
            ('{"a":' * 100_000, "not JSON that can be read: nested too deeply"),
            ('{"audio_filepath": "a.wav\0"}', "NUL characters"),
            (json.dumps(GOOD | {"text": "x" * (17 << 20)}), "a line of 17,8"),
            ('{"offset": 1' + "0" * 5000 + "}", "not JSON"),
        ],
    )
    def test_a_broken_line_is_named_and_the_rest_goes_on(
        self, tmp_path: Path, line: str, reason: str
    ) -> None:
        speak(tmp_path / "a.wav")
        path = write_lines(tmp_path / "l.json", [GOOD, line, GOOD | {"offset": 0, "duration": 0.5}])
        utterances, (rejected,) = catalogue(path)
        assert set(utterances) == {"a", "a-0.00-0.50"}
        assert rejected.path == f"{path}:2"
        assert rejected.reason.startswith(reason)
        assert len(rejected.reason) < 300

    @pytest.mark.parametrize("name", ["x.raw", "x.wav", "folder.wav", "x" * 300 + ".wav", ""])
    def test_what_is_no_audio_is_named(self, tmp_path: Path, name: str) -> None:
        speak(tmp_path / "a.wav")
        (tmp_path / "x.raw").write_bytes(bytes(1000))
        (tmp_path / "x.wav").write_bytes(bytes(1000))
        (tmp_path / "folder.wav").mkdir()
        path = write_lines(tmp_path / "l.json", [GOOD | {"audio_filepath": name}, GOOD])
        utterances, (rejected,) = catalogue(path)
        assert set(utterances) == {"a"}
        assert f"{path}:1" in f"{rejected.path} {rejected.reason}"

    @pytest.mark.parametrize(
        "number", ["NaN", "Infinity", "1e400", '"nan"', '"1_0"', '"\u0661"', '""', "true", "[]"]
    )
    def test_what_is_no_number_is_no_time(self, tmp_path: Path, number: str) -> None:
        speak(tmp_path / "a.wav", 20)
        lines = [
            f'{{"audio_filepath": "a.wav", "speaker": "a", "offset": {number}, "duration": 1}}',
            f'{{"audio_filepath": "a.wav", "speaker": "a", "offset": 1, "duration": {number}}}',
            f'{{"audio_filepath": "a.wav", "speaker": "a", "duration": {number}}}',
        ]
        path = write_lines(tmp_path / "l.json", lines)
        utterances, rejected = catalogue(path)
        assert not utterances
        assert [one.path for one in rejected] == [f"{path}:{line}" for line in (1, 2, 3)]
        assert all("is not a number of seconds" in one.reason for one in rejected)

    @pytest.mark.parametrize(
        ("offset", "duration", "reason"),
        [
            (0.5, 0, "a duration of 0 s"),
            (0.5, -0.2, "a duration of -0.2 s"),
            (-0.5, 1, "a time range outside the file: -0.5 to 0.5 s of 1 s"),
            (0.5, 1e300, "a time range outside the file"),
            (0.5, None, "no 'duration'"),
        ],
    )
    def test_times_that_no_file_has_are_named(
        self, tmp_path: Path, offset: float, duration: float, reason: str
    ) -> None:
        speak(tmp_path / "a.wav")
        row = GOOD | {"offset": offset, "duration": duration}
        utterances, (rejected,) = catalogue(write_lines(tmp_path / "l.json", [row]))
        assert not utterances
        assert rejected.reason.startswith(reason)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("1", 1.0),
        (" 1.50 ", 1.5),
        ("-.5", -0.5),
        ("1e-2", 0.01),
        (3, 3.0),
        ("1_000", None),
        ("\u0661\u0662", None),
        ("", None),
        ("0x10", None),
        ("1,5", None),
        ("infinity", None),
        (float("nan"), None),
        (10**400, None),
        (True, None),
        (None, None),
        ([1], None),
    ],
)
def test_a_number_is_one_that_anybody_reads_as_such(value: object, number: float | None) -> None:
    assert parse_number(value) == number


class TestKaldi:
    def test_lines_of_any_table_are_named(self, tmp_path: Path) -> None:
        speak(tmp_path / "a.wav", 10)
        speak(tmp_path / "b.wav", 10)
        write_lines(
            tmp_path / "wav.scp", ["rec1 a.wav", "rec2 a.wav", "rec2 b.wav", "rec3", "rec1 a.wav"]
        )
        write_lines(
            tmp_path / "utt2spk",
            ["u1 ada", "u2 ada", "u3 ada", "u3 bob", "u4 ada", "u5 ada", "u6 ada", "u7"],
        )
        path = write_lines(
            tmp_path / "segments",
            [
                "u1 rec1 0.5 2",
                "u2 rec2 0.5 2",
                "u3 rec1 0.5 2",
                "u4 rec1 2 1",
                "u5 rec1 nan 1",
                "u6 rec1 1",
            ],
        )
        utterances, rejected = catalogue(tmp_path)
        assert set(utterances) == {"u1"}
        assert {(one.path.rpartition("/")[2], one.reason) for one in rejected} == {
            ("utt2spk:8", "1 fields where 2 belong"),
            ("wav.scp:4", "1 fields where 2 belong"),
            ("segments:2", "'rec2' is in wav.scp with different values"),
            ("segments:3", "'u3' is in utt2spk with different values"),
            ("segments:4", "a time range that ends before it starts: 2 to 1 s"),
            ("segments:5", "'start' is not a number of seconds: 'nan'"),
            ("segments:6", "3 fields where 4 or 5 belong"),
        }
        assert str(path) in rejected[-1].path

    @pytest.mark.parametrize("end", ["-1", "-1.0", "-1.00"])
    def test_every_way_to_write_the_end_of_a_recording(self, tmp_path: Path, end: str) -> None:
        speak(tmp_path / "a.wav", 10)
        write_lines(tmp_path / "wav.scp", ["rec1 a.wav"])
        write_lines(tmp_path / "utt2spk", ["u1 ada"])
        write_lines(tmp_path / "segments", [f"u1 rec1 7.5 {end}"])
        utterances, _ = catalogue(tmp_path)
        assert utterances["u1"].stop == 10 * RATE

    def test_a_line_in_latin_1_is_named(self, tmp_path: Path) -> None:
        speak(tmp_path / "a.wav")
        path = write_raw(tmp_path / "wav.scp", b"u1 a.wav", b"u2 fr\xe9d.wav")
        write_lines(tmp_path / "utt2spk", ["u1 ada", "u2 bob"])
        utterances, (rejected,) = catalogue(tmp_path)
        assert set(utterances) == {"u1"}
        assert rejected.path == str(tmp_path / "fr\\xe9d.wav")
        assert rejected.reason.endswith(f"named in {path}:2")


class TestLhotse:
    @pytest.mark.parametrize(
        ("fields", "reason"),
        [
            ({"start": "1_0"}, "'start' is not a number of seconds"),
            ({"duration": float("inf")}, "'duration' is not a number of seconds"),
            ({"duration": 0}, "a duration of 0 s"),
            ({"speaker": "\ud800"}, "'speaker' has half a character"),
            ({"channel": -1}, "not a channel: -1"),
        ],
    )
    def test_a_broken_supervision_is_named(
        self, tmp_path: Path, fields: dict[str, object], reason: str
    ) -> None:
        speak(tmp_path / "a.wav", 10)
        source = {"type": "file", "channels": [0], "source": "a.wav"}
        good = {"id": "s", "start": 1, "duration": 2, "channel": 0, "speaker": "ada"}
        cuts = [
            {"start": 0, "supervisions": [one], "recording": {"id": "r", "sources": [source]}}
            for one in (good, good | fields)
        ]
        path = write_lines(tmp_path / "cuts.jsonl", cuts)
        utterances, (rejected,) = catalogue(path)
        assert set(utterances) == {"s"}
        assert rejected.path == f"{path}:2"
        assert rejected.reason.startswith(reason)

    def test_two_recordings_of_one_id_are_ambiguous(self, tmp_path: Path) -> None:
        speak(tmp_path / "a.wav", 10)
        recordings = [
            {"id": "r", "sources": [{"type": "file", "channels": [0], "source": name}]}
            for name in ("a.wav", "b.wav")
        ]
        write_lines(tmp_path / "recordings.jsonl", recordings)
        row = {"id": "s", "recording_id": "r", "start": 1, "duration": 2, "speaker": "ada"}
        utterances, (rejected,) = catalogue(write_lines(tmp_path / "supervisions.jsonl", [row]))
        assert not utterances
        assert rejected.reason == "two different recordings 'r' in their manifest"


class TestCommonVoice:
    def test_a_clip_in_two_lists_is_said(self, tmp_path: Path) -> None:
        for name in "abc":
            speak(tmp_path / f"clips/{name}.wav")
        header = "client_id\tpath"
        train = write_lines(tmp_path / "train.tsv", [header, "ada\ta.wav", "ada\ta.wav"])
        test = write_lines(tmp_path / "test.tsv", [header, "ada\ta.wav", "bob\tb.wav"])
        rows = ["ada\ta.wav", "bob\tb.wav", "cyd\tc.wav", "cyd\tc.wav"]
        validated = write_lines(tmp_path / "validated.tsv", [header, *rows])
        utterances, rejected = catalogue(tmp_path)
        assert set(utterances) == {"a", "b", "c"}
        assert [(one.path, one.reason) for one in rejected] == [
            (f"{train}:3", f"clips/a.wav again: {train}:2 has it too"),
            (f"{test}:2", f"clips/a.wav again: {train}:2 has it too"),
            (f"{validated}:5", f"clips/c.wav again: {validated}:4 has it too"),
        ]

    def test_the_first_release_leaves_the_suffix_out(self, tmp_path: Path) -> None:
        for name in ("a", "b.c"):
            speak(tmp_path / f"clips/{name}.mp3")
        rows = ["client_id\tpath", "ada\ta", "bob\tb.c"]
        write_lines(tmp_path / "validated.tsv", rows)
        utterances, rejected = catalogue(tmp_path)
        assert {name: one.path for name, one in utterances.items()} == {
            "a": "clips/a.mp3",
            "b.c": "clips/b.c.mp3",
        }
        assert not rejected


class TestEncodings:
    @pytest.mark.parametrize(
        "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le with a mark", "utf-16-be with one"]
    )
    @pytest.mark.parametrize("line_end", ["\n", "\r\n"])
    def test_lists_from_any_system_are_read(
        self, tmp_path: Path, encoding: str, line_end: str
    ) -> None:
        def write(path: Path, *lines: str) -> None:
            text = line_end.join([*lines, ""])
            codec = encoding.partition(" ")[0]
            mark = {"utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE}
            path.write_bytes(mark.get(codec, b"") + text.encode(codec))

        speak(tmp_path / "clips/\u00fc.mp3")
        speak(tmp_path / "\u00fc.wav")
        write(tmp_path / "validated.tsv", "client_id\tpath\tsentence", "ada\t\u00fc.mp3\tx")
        utterances, rejected = catalogue(tmp_path)
        assert {(one.path, one.speaker) for one in utterances.values()} == {
            ("clips/\u00fc.mp3", "ada")
        }
        assert not rejected
        manifest = tmp_path / "l.json"
        write(manifest, json.dumps(GOOD | {"audio_filepath": "\u00fc.wav"}, ensure_ascii=False))
        assert set(catalogue(manifest)[0]) == {"\u00fc"}
        (tmp_path / "kaldi").mkdir()
        write(tmp_path / "kaldi/wav.scp", "u1 ../\u00fc.wav")
        write(tmp_path / "kaldi/utt2spk", "u1 ada")
        assert set(catalogue(tmp_path / "kaldi")[0]) == {"u1"}

    def test_a_gzip_file_that_was_cut_off_is_named(self, tmp_path: Path) -> None:
        rows = "".join(json.dumps(GOOD | {"text": str(n)}) + "\n" for n in range(50_000))
        path = tmp_path / "cuts.jsonl.gz"
        path.write_bytes(gzip.compress(rows.encode())[:-1000])
        with pytest.raises(UserError, match="not a sound gzip file") as raised:
            catalogue(path)
        assert str(path) in str(raised.value)
        path.write_text(rows)
        with pytest.raises(UserError, match="not a sound gzip file"):
            catalogue(path)
