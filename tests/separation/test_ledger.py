import dataclasses

import pytest

from beam_jobs.separation.inputs import InputFile
from beam_jobs.separation.ledger import is_done, read_own_record, write_record
from schemas.ledger import (
    InputVersion,
    LedgerRecord,
    Output,
    Parameters,
    Voices,
    parse_ledger_record,
)
from schemas.validation import InvalidDocumentError

FILE = InputFile("gs://calls/monday/a.wav", "monday/a.wav")
RECORD = LedgerRecord(
    path=FILE.path,
    version=InputVersion(1234, 1.5e9, "crc"),
    model="speech",
    model_fingerprint="abc",
    parameters=Parameters(),
    sample_rate=8000,
    num_frames=16_000,
    num_channels=1,
    gain_db=0.0,
    num_windows=3,
    outputs=(Output("monday/a_speaker1.wav", 5),),
    rttm=None,
    voices=(Voices(2, False, 0.97, 1),),
    model_s=0.25,
    finished="2026-01-01T00:00:00+00:00",
)


@pytest.fixture
def output(tmp_path):
    write_record(str(tmp_path), FILE, RECORD)
    (tmp_path / "monday").mkdir()
    (tmp_path / "monday/a_speaker1.wav").write_bytes(b"audio")
    return str(tmp_path)


def find(output, **changes):
    wanted = {
        "version": RECORD.version,
        "model_fingerprint": RECORD.model_fingerprint,
        "parameters": RECORD.parameters,
    }
    wanted |= changes
    record = read_own_record(output, FILE, wanted["version"])
    return record if record and is_done(output, record, FILE, **wanted) else None


def test_a_record_is_found_as_it_was_written(output):
    assert find(output) == RECORD
    assert find(output).duration_s == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"version": dataclasses.replace(RECORD.version, size=1)},
        {"version": dataclasses.replace(RECORD.version, modified_s=1.0)},
        {"version": dataclasses.replace(RECORD.version, checksum="other")},
        {"model_fingerprint": "other"},
        {"parameters": Parameters(channels="each")},
        {"parameters": Parameters(name_template="{stem}{source}")},
    ],
)
def test_a_record_counts_only_for_the_same_version_model_and_parameters(output, changes):
    assert find(output, **changes) is None


def test_a_record_does_not_count_without_its_outputs(output, tmp_path):
    (tmp_path / "monday/a_speaker1.wav").write_bytes(b"half")
    assert find(output) is None
    (tmp_path / "monday/a_speaker1.wav").unlink()
    assert find(output) is None


def test_a_record_of_another_version_does_not_count(output, tmp_path):
    path = tmp_path / "_ledger/monday/a.wav.json"
    path.write_text(path.read_text().replace('"version": 2', '"version": 3'))
    assert find(output) is None
    with pytest.raises(InvalidDocumentError, match="version"):
        parse_ledger_record(path.read_text(), str(path))
