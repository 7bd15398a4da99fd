import pytest

from scoring.diarisation import DiarisationErrors, add_up, find_errors

REFERENCE = [("anna", 0.0, 4.0), ("bert", 3.0, 8.0)]


def errors(hypothesis, reference=REFERENCE):
    return find_errors("call", reference=reference, hypothesis=hypothesis, duration_s=10.0)


def test_names_do_not_matter_and_a_quarter_of_a_second_is_tolerated():
    found = errors([("1", 0.2, 4.2), ("2", 2.8, 8.2)])
    assert found.rate == 0
    # 9 s of speech, less a quarter of a second on either side of the four ends.
    assert found.speech_s == pytest.approx(9 - 0.25 - 0.5 - 2 * 0.5 - 0.25)


def test_missed_speech_false_alarms_and_confusion_are_distinguished():
    assert errors([("1", 0.0, 4.0)]).missed_s == pytest.approx(0.5 + 3.5)
    assert errors([("1", 0.0, 4.0), ("2", 3.0, 10.0)]).false_alarm_s == pytest.approx(1.75)
    assert errors([("1", 0.0, 6.0), ("2", 3.0, 4.0), ("2", 6.0, 8.0)]).confusion_s > 1


def test_one_speaker_is_not_enough_where_two_speak():
    assert errors([("1", 0.0, 3.5), ("2", 3.5, 8.0)]).missed_s == pytest.approx(0.5)


def test_turns_of_one_speaker_that_overlap_are_one():
    assert errors([("1", 0.0, 3.0), ("1", 2.0, 4.0), ("2", 3.0, 8.0)]).rate == 0


def test_the_rate_of_several_recordings_is_over_all_their_speech():
    several = [DiarisationErrors("a", 90, 9, 0, 0), DiarisationErrors("b", 10, 0, 5, 5)]
    assert add_up(several).rate == pytest.approx(0.19)
    assert "19.0%" in str(add_up(several))


def test_silence_that_is_recognised_is_not_an_error():
    assert errors([], reference=[]).rate == 0
    assert errors([("1", 0.0, 1.0)], reference=[]).rate == 1
