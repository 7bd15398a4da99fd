import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_jobs.separation.turns import Turn, TurnFinder, format_rttm, parse_rttm

SAMPLE_RATE = 8000
SPEAKERS = ("speaker1", "speaker2")


def outputs(*turns, duration_s=10.0, leak=0.0):
    """Returns noise in the turns (speaker, onset, end, level), and leakage of the other speaker."""
    rng = np.random.default_rng(0)
    sources = np.zeros((2, round(duration_s * SAMPLE_RATE)), np.float32)
    for speaker, onset_s, end_s, level in turns:
        span = slice(round(onset_s * SAMPLE_RATE), round(end_s * SAMPLE_RATE))
        sources[speaker, span] += level * rng.standard_normal(span.stop - span.start)
    return sources + leak * sources[::-1]


def listen(sources, block_length=7777):
    finder = TurnFinder(SAMPLE_RATE)
    for start in range(0, sources.shape[1], block_length):
        finder.add(sources[:, start : start + block_length])
    return finder.find_turns(SPEAKERS)


def rounded(turns):
    return [(turn.speaker, round(turn.onset_s, 1), round(turn.duration_s, 1)) for turn in turns]


def test_turns_are_found_where_they_are_and_may_overlap():
    turns = listen(outputs((0, 1.0, 4.0, 0.1), (1, 3.0, 6.0, 0.05), (0, 8.0, 9.0, 0.1)))
    assert rounded(turns) == [("speaker1", 1, 3), ("speaker2", 3, 3), ("speaker1", 8, 1)]


def test_leakage_into_the_other_output_is_not_speech():
    turns = listen(outputs((0, 1.0, 4.0, 0.1), (1, 5.0, 6.0, 0.1), leak=0.1))
    assert rounded(turns) == [("speaker1", 1, 3), ("speaker2", 5, 1)]


def test_short_pauses_belong_to_the_turn_and_clicks_do_not_count():
    turns = listen(outputs((0, 1.0, 2.0, 0.1), (0, 2.2, 3.0, 0.1), (0, 5.0, 5.04, 0.1)))
    assert rounded(turns) == [("speaker1", 1, 2)]


def test_silence_has_no_turns():
    assert listen(outputs()) == []


@given(block_length=st.integers(100, 90_000))
def test_turns_do_not_depend_on_the_blocks(block_length):
    sources = outputs((0, 1.0, 4.0, 0.1), (1, 3.0, 6.0, 0.05))
    assert listen(sources, block_length) == listen(sources)


def test_rttm_is_as_nist_defines_it():
    (turn,) = listen(outputs((1, 1.0, 2.0, 0.1)))
    fields = format_rttm("my call", [turn]).split()
    assert fields[:3] == ["SPEAKER", "my_call", "1"]
    assert [float(field) for field in fields[3:5]] == pytest.approx([1, 1], abs=0.03)
    assert fields[5:] == ["<NA>", "<NA>", "speaker2", "<NA>", "<NA>"]


def test_rttm_is_read_as_it_was_written():
    turns = listen(outputs((0, 1.0, 4.0, 0.1), (1, 3.0, 6.0, 0.05)))
    other_lines = "SPKR-INFO a 1 <NA> <NA> <NA> unknown speaker1 <NA> <NA>\n\n"
    assert parse_rttm(other_lines + format_rttm("a", turns)) == turns


@pytest.mark.parametrize(("written", "number"), [("2", 2), ("A", 1), ("B", 2), ("<NA>", 1)])
def test_channels_have_numbers_or_letters_or_no_name(written, number):
    (turn,) = parse_rttm(f"SPEAKER a {written} 0.5 1.5 <NA> <NA> b <NA> <NA>")
    assert turn == Turn("b", 0.5, 1.5, number)


@pytest.mark.parametrize(
    "line",
    [
        "SPEAKER a 1 0.5",
        "SPEAKER a 1 now 0.5 <NA> <NA> b <NA> <NA>",
        "SPEAKER a 1 nan 0.5 <NA> <NA> b <NA> <NA>",
        "SPEAKER a 1 0.5 inf <NA> <NA> b <NA> <NA>",
        "SPEAKER a 1 0.5 -1 <NA> <NA> b <NA> <NA>",
        "SPEAKER a 1 1_0 0.5 <NA> <NA> b <NA> <NA>",
        "SPEAKER a -1 0.5 0.5 <NA> <NA> b <NA> <NA>",
        "SPEAKER a 1 <NA> 0.5 <NA> <NA> b <NA> <NA>",
    ],
)
def test_what_is_not_rttm_is_refused(line):
    with pytest.raises(ValueError, match="not RTTM"):
        parse_rttm(line)
