import json
import subprocess

import numpy as np
import pytest
import soundfile

from beam_jobs.separate_archive import main
from beam_jobs.separation.segments import Segment, find_segments
from beam_jobs.separation.turns import Turn


def spans(segments):
    return [
        (one.speaker, round(one.offset_s, 3), round(one.offset_s + one.duration_s, 3))
        for one in segments
    ]


def test_short_pauses_are_merged_and_long_ones_are_not():
    turns = [Turn("a", 0, 2), Turn("a", 2.4, 1), Turn("a", 5, 1)]
    assert spans(find_segments(turns, 30)) == [("a", 0, 3.4), ("a", 5, 6)]


def test_nothing_is_longer_than_the_limit_and_cuts_are_in_pauses_where_there_are_any():
    turns = [Turn("a", 0, 20), Turn("a", 20.4, 15), Turn("a", 40, 70)]
    assert spans(find_segments(turns, 30)) == [
        ("a", 0, 20),
        ("a", 20.4, 35.4),
        ("a", 40, pytest.approx(63.333)),
        ("a", pytest.approx(63.333), pytest.approx(86.667)),
        ("a", pytest.approx(86.667), 110),
    ]
    assert spans(find_segments([Turn("a", 0.1, 30)], 30)) == [("a", 0.1, 30.1)]


def test_segments_in_which_somebody_else_speaks_are_marked():
    turns = [Turn("a", 0, 4), Turn("b", 3, 3), Turn("a", 6, 2), Turn("b", 9, 1), Turn("b", 20, 1)]
    assert find_segments(turns, 30) == [
        Segment("a", 0, 4, overlapped=True),
        Segment("b", 3, 3, overlapped=True),
        Segment("a", 6, 2, overlapped=False),
        Segment("b", 9, 1, overlapped=False),
        Segment("b", 20, 1, overlapped=False),
    ]


def write_call(path, *, low_s, high_s):
    path.parent.mkdir(parents=True, exist_ok=True)
    time_s = np.arange(6 * 8000) / 8000
    low = 0.3 * np.sin(2 * np.pi * 200 * time_s) * (time_s > low_s[0]) * (time_s < low_s[1])
    high = 0.3 * np.sin(2 * np.pi * 3000 * time_s) * (time_s > high_s[0]) * (time_s < high_s[1])
    soundfile.write(path, low + high, 8000)


def separate(root, bundle, *options):
    command = [f"--input={root}/calls", f"--model={bundle}", f"--output={root}/out"]
    return main([*command, "--direct_num_workers=1", *options])


def read_lines(root, name):
    return [json.loads(line) for line in (root / "out" / name).read_text().splitlines()]


def read_segments(root):
    return read_lines(root, "segments.jsonl")


def segment_of(cut):
    """Returns the line of `segments.jsonl` for a cut of `cuts.jsonl`."""
    (source,), (supervision,) = cut["recording"]["sources"], cut["supervisions"]
    segment = {"audio_filepath": source["source"], "offset": cut["start"]}
    segment |= {"duration": cut["duration"], "speaker": supervision["speaker"]}
    return segment | supervision.get("custom", {})


def test_the_turns_of_all_recordings_are_written_for_recognisers(tmp_path, bundle, capsys):
    write_call(tmp_path / "calls/a.wav", low_s=(0, 2), high_s=(1, 3))
    assert separate(tmp_path, bundle, "--segments") == 0
    said = f"to transcribe: {tmp_path}/out/segments.jsonl, and for Lhotse cuts.jsonl beside it\n"
    assert said in capsys.readouterr().out
    write_call(tmp_path / "calls/b.wav", low_s=(4, 5), high_s=(0, 0))
    assert separate(tmp_path, bundle, "--segments") == 0
    near = {"abs": 0.05}
    assert read_segments(tmp_path) == [
        {
            "audio_filepath": f"{tmp_path}/out/a_speaker1.wav",
            "offset": 0.0,
            "duration": pytest.approx(2, **near),
            "speaker": "speaker1",
            "overlapped": True,
        },
        {
            "audio_filepath": f"{tmp_path}/out/a_speaker2.wav",
            "offset": pytest.approx(1, **near),
            "duration": pytest.approx(2, **near),
            "speaker": "speaker2",
            "overlapped": True,
        },
        {
            "audio_filepath": f"{tmp_path}/out/b_speaker1.wav",
            "offset": pytest.approx(4, **near),
            "duration": pytest.approx(1, **near),
            "speaker": "speaker1",
        },
    ]
    assert (tmp_path / "out/a.wav.rttm").exists()
    for one in read_segments(tmp_path):
        info = soundfile.info(one["audio_filepath"])
        assert one["offset"] + one["duration"] <= info.duration
    cuts = read_lines(tmp_path, "cuts.jsonl")
    assert [segment_of(cut) for cut in cuts] == read_segments(tmp_path)
    assert [cut["id"] for cut in cuts] == [
        "a_speaker1.wav-0",
        "a_speaker2.wav-0",
        "b_speaker1.wav-0",
    ]


# Runs where Lhotse is, and tells what it read.
READER = """
import json, sys
from lhotse import CutSet, validate

cuts = CutSet.from_file(sys.argv[1])
for cut in cuts:
    validate(cut, read_data=True)
    (said,) = cut.supervisions
    overlapped = bool(said.custom and said.custom["overlapped"])
    print(json.dumps([cut.start, cut.duration, said.speaker, overlapped, cut.load_audio().shape]))
assert len(list(cuts)) == len({cut.id for cut in cuts})
"""


@pytest.mark.pytorch
def test_lhotse_reads_every_segment(tmp_path, bundle, pytorch):
    write_call(tmp_path / "calls/a.wav", low_s=(0, 2), high_s=(1, 3))
    write_call(tmp_path / "calls/monday/b.wav", low_s=(4, 5), high_s=(0, 0))
    assert separate(tmp_path, bundle, "--segments") == 0
    command = [pytorch, "-c", READER, f"{tmp_path}/out/cuts.jsonl"]
    read = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert [json.loads(line) for line in read.splitlines()] == [
        [
            one["offset"],
            one["duration"],
            one["speaker"],
            one.get("overlapped", False),
            [1, round(one["duration"] * 8000)],
        ]
        for one in read_segments(tmp_path)
    ]


def test_recordings_whose_turns_are_not_known_are_counted(tmp_path, bundle, capsys):
    write_call(tmp_path / "calls/a.wav", low_s=(0, 2), high_s=(1, 3))
    assert separate(tmp_path, bundle) == 0
    (tmp_path / "calls/a.wav").unlink()
    write_call(tmp_path / "calls/b.wav", low_s=(4, 5), high_s=(0, 0))
    assert separate(tmp_path, bundle, "--segments") == 0
    assert "(1 of the ledger's recordings have none)" in capsys.readouterr().out
    assert [one["speaker"] for one in read_segments(tmp_path)] == ["speaker1"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--segments", "--channels=each"], "leave one of them out"),
        (["--segments", "--max_segment_s=0"], "--max_segment_s is at least 1"),
        (["--name_template=segments.jsonl/{source}.{extension}"], "is no place for an output"),
    ],
)
def test_a_mistake_is_reported_before_anything_runs(tmp_path, bundle, capsys, options, message):
    write_call(tmp_path / "calls/a.wav", low_s=(0, 2), high_s=(1, 3))
    assert separate(tmp_path, bundle, *options) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
