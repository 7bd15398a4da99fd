import dataclasses
import json

import pytest

from schemas.ledger import (
    InputVersion,
    LedgerRecord,
    Output,
    Parameters,
    Voices,
    parse_ledger_record,
)
from schemas.validation import InvalidDocumentError

SPEAKERS = (Output("a_speaker1.wav", 5), Output("a_speaker2.wav", 6))
RTTM = Output("a.wav.rttm", 7)
RECORD = LedgerRecord(
    path="/calls/a.wav",
    version=InputVersion(1234, 1.5e9),
    model="speech",
    model_fingerprint="abc",
    parameters=Parameters(rttm=True),
    sample_rate=8000,
    num_frames=16_000,
    num_channels=1,
    gain_db=0.0,
    num_windows=3,
    outputs=SPEAKERS,
    rttm=RTTM,
    voices=(Voices(2, False, 0.97, 1),),
    model_s=0.25,
    finished="2026-01-01T00:00:00+00:00",
)
WITHOUT_RTTM = dataclasses.replace(RECORD, parameters=Parameters(), rttm=None)


@pytest.mark.parametrize("record", [RECORD, WITHOUT_RTTM])
def test_a_record_is_read_as_it_was_written(record):
    assert parse_ledger_record(record.to_json(), "a.wav.json") == record


def test_files_are_all_that_was_written():
    assert RECORD.files == (*SPEAKERS, RTTM)
    assert WITHOUT_RTTM.files == SPEAKERS


@pytest.mark.parametrize("record", [RECORD, WITHOUT_RTTM])
def test_records_of_version_1_have_the_rttm_file_among_the_outputs_and_no_voices(record):
    document = json.loads(record.to_json())
    del document["rttm"], document["voices"]
    document["version"] = 1
    document["alignments"] = []
    document["outputs"] = [dataclasses.asdict(one) for one in record.files]
    read = parse_ledger_record(json.dumps(document), "a.wav.json")
    assert read == dataclasses.replace(record, voices=())


def test_a_record_from_before_there_was_a_gate_was_written_without_one():
    document = json.loads(RECORD.to_json())
    del document["parameters"]["gate"]
    assert parse_ledger_record(json.dumps(document), "a.wav.json") == RECORD


def test_an_rttm_file_without_a_size_is_refused():
    document = json.loads(RECORD.to_json())
    del document["rttm"]["size"]
    with pytest.raises(InvalidDocumentError, match=r"^a.wav.json: \$\.rttm"):
        parse_ledger_record(json.dumps(document), "a.wav.json")
