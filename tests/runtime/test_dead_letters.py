from beam_jobs.runtime.dead_letters import Rejected, read_rejected, write_rejected


def caught(error):
    try:
        raise error
    except type(error) as raised:
        return raised


def test_dead_letters_are_read_as_they_were_written(tmp_path):
    path = str(tmp_path / "rejected.jsonl")
    rejected = [Rejected("a.wav", "empty"), Rejected("é.wav", "no audio\u2028", "Traceback")]
    write_rejected(path, rejected)
    assert read_rejected(path) == rejected


def test_without_a_file_nothing_was_rejected(tmp_path):
    assert read_rejected(str(tmp_path / "rejected.jsonl")) == []


def test_an_error_gives_its_first_line_and_its_traceback():
    rejected = Rejected.from_error("a.wav", caught(RuntimeError("\nno audio\nin channel 2\n")))
    assert (rejected.path, rejected.reason) == ("a.wav", "no audio")
    assert rejected.traceback.startswith("Traceback")
    assert "in caught" in rejected.traceback


def test_an_error_without_a_message_gives_its_name():
    assert Rejected.from_error("a.wav", caught(MemoryError())).reason == "MemoryError"


def test_a_name_that_is_not_utf8_is_written_with_escapes(tmp_path):
    path = str(tmp_path / "rejected.jsonl")
    write_rejected(path, [Rejected.from_error("\udce9.wav", ValueError("no audio"))])
    assert read_rejected(path)[0].path == "\\udce9.wav"


def test_a_reason_may_speak_of_a_name_that_is_not_utf8(tmp_path):
    path = str(tmp_path / "rejected.jsonl")
    write_rejected(path, [Rejected.from_error("a.wav", caught(ValueError("\udce9.wav is there")))])
    (rejected,) = read_rejected(path)
    assert rejected.reason == "\\udce9.wav is there"
    assert rejected.traceback.endswith("ValueError: \\udce9.wav is there\n")
