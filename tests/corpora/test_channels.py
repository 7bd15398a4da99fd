"""An utterance that is on one channel of its file is read from that one."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile
from spoken_corpora import RATE, catalogue, speak, write_lines

from beam_jobs import build_mixtures
from beam_jobs.corpora.catalogue import SCHEMA, open_catalogue, take_catalogue, write_table
from beam_jobs.corpora.layout import parse_corpora
from beam_jobs.rendering.part_reader import PartReader
from schemas.errors import UserError
from schemas.recipe import Recipe, Source, Utterance, parse_recipe
from schemas.tfrecord import decode_example, read_records


def channels_of(utterances: dict[str, Utterance]) -> dict[str, int | None]:
    return {name: one.channel for name, one in utterances.items()}


class TestKaldi:
    def write(self, root: Path, *, sides: str = "", segments: tuple[str, ...] = ()) -> Path:
        speak(root / "call.wav", 4, channels=2)
        write_lines(root / "wav.scp", ["call-A call.wav", "call-B call.wav"])
        utterances = [segment.split()[0] for segment in segments] or ["call-A", "call-B"]
        write_lines(root / "utt2spk", [f"{name} sp-{name}" for name in utterances])
        if sides:
            rows = [f"call-{side} call {one}" for side, one in zip("AB", sides, strict=True)]
            write_lines(root / "reco2file_and_channel", rows)
        if segments:
            write_lines(root / "segments", segments)
        return root

    @pytest.mark.parametrize("sides", ["AB", "12", "01"])
    def test_reco2file_and_channel_says_the_side(self, tmp_path: Path, sides: str) -> None:
        segments = ("a call-A 0.5 3", "b call-B 0.5 3")
        utterances, rejected = catalogue(self.write(tmp_path, sides=sides, segments=segments))
        assert channels_of(utterances) == {"a": 0, "b": 1}
        assert not rejected

    def test_it_does_so_for_whole_recordings(self, tmp_path: Path) -> None:
        utterances, _ = catalogue(self.write(tmp_path, sides="AB"))
        assert channels_of(utterances) == {"call-A": 0, "call-B": 1}

    @pytest.mark.parametrize("fields", [("0", "1"), ("A", "B")])
    def test_the_fifth_field_of_segments_goes_first(
        self, tmp_path: Path, fields: tuple[str, str]
    ) -> None:
        segments = (f"a call-B 0.5 3 {fields[0]}", f"b call-A 0.5 -1 {fields[1]}")
        utterances, rejected = catalogue(self.write(tmp_path, sides="AB", segments=segments))
        assert channels_of(utterances) == {"a": 0, "b": 1}
        assert utterances["b"].stop == 4 * RATE
        assert not rejected

    def test_without_a_channel_stereo_is_rejected_with_the_remedy(self, tmp_path: Path) -> None:
        utterances, rejected = catalogue(self.write(tmp_path))
        assert not utterances
        assert len(rejected) == 2
        for one in rejected:
            assert one.reason.startswith("2 channels, and nothing says which one this is")
            assert "reco2file_and_channel" in one.reason

    @pytest.mark.parametrize(
        ("segment", "reason"),
        [
            ("a call-A 0.5 3 2", "no channel 2: the file has 2"),
            ("a call-A 0.5 3 -1", "not a channel: '-1'"),
            ("a call-A 0.5 3 left", "not a channel: 'left'"),
        ],
    )
    def test_a_channel_that_is_not_there_is_said(
        self, tmp_path: Path, segment: str, reason: str
    ) -> None:
        utterances, rejected = catalogue(self.write(tmp_path, segments=(segment,)))
        assert not utterances
        assert rejected[0].reason.startswith(reason)

    def test_a_side_that_is_its_own_file_needs_none(self, tmp_path: Path) -> None:
        self.write(tmp_path, sides="AB")
        for side in "AB":
            speak(tmp_path / f"{side}.wav")
        write_lines(tmp_path / "wav.scp", ["call-A A.wav", "call-B B.wav"])
        utterances, rejected = catalogue(tmp_path)
        assert channels_of(utterances) == {"call-A": None, "call-B": None}
        assert not rejected


class TestNemo:
    @pytest.mark.parametrize(
        ("fields", "channel"),
        [
            ({"channel_selector": 1}, 1),
            ({"channel_selector": [0]}, 0),
            ({"channel": 1}, 1),
            ({"channel_selector": "average"}, None),
            ({}, None),
        ],
    )
    def test_a_row_may_say_its_channel(
        self, tmp_path: Path, fields: dict[str, object], channel: int | None
    ) -> None:
        speak(tmp_path / "a.wav", channels=2)
        row = {"audio_filepath": "a.wav", "speaker": "ada"} | fields
        utterances, _ = catalogue(write_lines(tmp_path / "l.json", [row]))
        name = "a" if channel is None else f"a-ch{channel}"
        assert channels_of(utterances) == {name: channel}

    def test_beside_rows_with_a_channel_stereo_needs_one(self, tmp_path: Path) -> None:
        for name in ("a", "b", "c"):
            speak(tmp_path / f"{name}.wav", channels=2)
        speak(tmp_path / "mono.wav")
        rows: list[dict[str, object]] = [
            {"audio_filepath": "mono.wav", "speaker": "dan"},
            {"audio_filepath": "a.wav", "speaker": "ada"},
            {"audio_filepath": "b.wav", "speaker": "bob", "channel_selector": "average"},
            {"audio_filepath": "c.wav", "speaker": "cyd", "channel": 1},
        ]
        utterances, (rejected,) = catalogue(write_lines(tmp_path / "l.json", rows))
        assert channels_of(utterances) == {"mono": None, "b": None, "c-ch1": 1}
        assert rejected.path == str(tmp_path / "a.wav")
        assert rejected.reason.startswith("2 channels, and nothing says which one this is")

    @pytest.mark.parametrize("value", [[0, 1], 2, -1, "left", 0.5, True])
    def test_what_is_no_channel_of_the_file_is_said(self, tmp_path: Path, value: object) -> None:
        speak(tmp_path / "a.wav", channels=2)
        row = {"audio_filepath": "a.wav", "speaker": "ada", "channel": value}
        utterances, (rejected,) = catalogue(write_lines(tmp_path / "l.json", [row]))
        assert not utterances
        assert "channel" in rejected.reason

    def test_two_speakers_of_one_file_are_two_utterances(self, tmp_path: Path) -> None:
        speak(tmp_path / "a.wav", channels=2)
        row = {"audio_filepath": "a.wav", "offset": 0, "duration": 1}
        rows = [row | {"speaker": f"sp{one}", "channel_selector": one} for one in (0, 1)]
        utterances, _ = catalogue(write_lines(tmp_path / "l.json", rows))
        assert channels_of(utterances) == {"a-0.00-1.00-ch0": 0, "a-0.00-1.00-ch1": 1}


class TestLhotse:
    def read(
        self,
        root: Path,
        sources: list[tuple[str, list[int]]],
        channel_of_supervision: object,
        **cut: object,
    ) -> tuple[str, int | None]:
        supervision: dict[str, object] = {"id": "s", "start": 0, "duration": 1, "speaker": "ada"}
        if channel_of_supervision is not None:
            supervision["channel"] = channel_of_supervision
        recording = {
            "id": "r",
            "sources": [
                {"type": "file", "channels": channels, "source": name} for name, channels in sources
            ],
        }
        row = {"start": 0, "supervisions": [supervision], "recording": recording} | cut
        utterances, _ = catalogue(write_lines(root / "cuts.jsonl", [row]))
        (utterance,) = utterances.values()
        return utterance.path, utterance.channel

    def test_a_supervision_says_its_channel(self, tmp_path: Path) -> None:
        speak(tmp_path / "a.wav", channels=2)
        sources = [("a.wav", [0, 1])]
        assert self.read(tmp_path, sources, 1) == ("a.wav", 1)
        assert self.read(tmp_path, sources, [0]) == ("a.wav", 0)
        assert self.read(tmp_path, sources, None, channel=1) == ("a.wav", 1)
        assert self.read(tmp_path, [("a.wav", [4, 2])], 2) == ("a.wav", 1)

    def test_a_channel_may_be_a_file_of_its_own(self, tmp_path: Path) -> None:
        for name in ("l.wav", "r.wav"):
            speak(tmp_path / name)
        sources = [("l.wav", [0]), ("r.wav", [1])]
        assert self.read(tmp_path, sources, 1) == ("r.wav", None)


def source(path: str, channel: int | None) -> Source:
    return Source(
        utterance="u",
        corpus="c",
        path=path,
        speaker="ada",
        gender="",
        start=0,
        stop=RATE,
        file_sample_rate=RATE,
        offset_s=0.0,
        level_kind="gain_db",
        level=0.0,
        channel=channel,
    )


@pytest.mark.parametrize("channels", ["average", 0, "stereo"])
def test_the_channel_of_an_utterance_goes_before_that_of_the_recipe(
    tmp_path: Path, channels: str | int
) -> None:
    samples, _ = soundfile.read(speak(tmp_path / "a.wav", channels=2), dtype="float32")
    one = source("a.wav", 1)
    recipe = Recipe("m", "train", RATE, 1.0, channels, (one,))
    heard = PartReader({"c": str(tmp_path)}).read(one, recipe).samples
    expected = samples[:, [1, 1]] if channels == "stereo" else samples[:, 1]
    np.testing.assert_array_equal(heard, expected)


def test_a_recipe_has_a_channel_only_where_one_was_meant() -> None:
    with_channel = Recipe("m", "train", RATE, 1.0, "average", (source("a.wav", 1),))
    assert json.loads(with_channel.to_json())["sources"][0]["channel"] == 1
    assert parse_recipe(with_channel.to_json(), "x") == with_channel
    without = Recipe("m", "train", RATE, 1.0, "average", (source("a.wav", None),))
    assert "channel" not in json.loads(without.to_json())["sources"][0]


class TestCatalogue:
    def test_one_of_the_first_version_is_read_where_it_is(self, tmp_path: Path) -> None:
        first = pa.schema(
            [field for field in SCHEMA if field.name != "channel"], metadata={"version": "1"}
        )
        row = dict.fromkeys(first.names, "x") | dict.fromkeys(
            ("start", "stop", "sample_rate", "num_channels"), 1
        )
        path = tmp_path / "catalogue.arrow"
        with path.open("wb") as file, pa.ipc.new_file(file, first) as writer:
            writer.write_table(pa.Table.from_pylist([row], schema=first))
        (utterance,) = open_catalogue(str(path)).utterances(np.array([0], np.int32))
        assert (utterance.channel, utterance.speed) == (None, 1.0)
        with pytest.raises(UserError, match="was made by another version of this program: remove"):
            take_catalogue(str(tmp_path), str(tmp_path / "dataset"), [])

    def test_one_of_other_corpora_is_refused(self, tmp_path: Path) -> None:
        write_table(str(tmp_path / "catalogue.arrow"), [], ["a"])
        with pytest.raises(UserError, match="is the catalogue of"):
            take_catalogue(str(tmp_path), str(tmp_path / "dataset"), ["b"])


def test_clean_sources_of_a_call_have_one_speaker_each(tmp_path: Path) -> None:
    data = tmp_path / "data"
    sides: dict[str, np.ndarray] = {}
    for call in range(2):
        path = speak(data / f"call{call}.wav", 3, seed=call, channels=2)
        samples, _ = soundfile.read(path, dtype="float32")
        sides |= {f"sp{call}A": samples[:, 0], f"sp{call}B": samples[:, 1]}
    names = [(call, side) for call in range(2) for side in "AB"]
    tables = {
        "wav.scp": [f"c{call}-{side} call{call}.wav" for call, side in names],
        "reco2file_and_channel": [f"c{call}-{side} c{call} {side}" for call, side in names],
        "segments": [f"u{call}{side} c{call}-{side} 0.5 2.5" for call, side in names],
        "utt2spk": [f"u{call}{side} sp{call}{side}" for call, side in names],
    }
    for name, lines in tables.items():
        write_lines(data / name, lines)
    output = tmp_path / "dataset"
    recipe = tmp_path / "recipe.json"
    config = {"version": 1, "description": "x", "num_speakers": 2, "offset_s": 0}
    recipe.write_text(json.dumps(config | {"level": {"gain_db": 0}, "sample_rate": RATE}))
    options = ["--splits=train=1", "--num_shards=1", "--direct_num_workers=1"]
    options += [f"--recipe={recipe}", f"--output={output}"]
    assert build_mixtures.main([f"--corpus={data}", *options]) == 0
    (corpus,) = parse_corpora([str(data)])
    assert corpus.name == "data"
    heard = set()
    for path in output.glob("*.tfrecord-*"):
        with path.open("rb") as file:
            for example in map(decode_example, read_records(file)):
                recipe_made = parse_recipe(example["recipe"][0], "x")
                shape = (2, recipe_made.num_samples)
                sources = np.frombuffer(example["sources"][0], np.int16).reshape(shape)
                for one, row in zip(recipe_made.sources, sources, strict=True):
                    expected = sides[one.speaker][RATE // 2 : 5 * RATE // 2]
                    gain = np.dot(row, expected) / np.dot(expected, expected)
                    np.testing.assert_allclose(row, gain * expected, atol=1)
                    heard.add(one.speaker)
    assert heard == set(sides)
