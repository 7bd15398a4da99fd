import dataclasses
import json

import pytest

from schemas.bundle import Bundle, Provenance, Training, TrainingData, UpperBand, parse_bundle
from schemas.validation import InvalidDocumentError

BUNDLE = Bundle(
    name="joint_blstm_8k",
    sample_rate=8000,
    num_channels=1,
    num_sources=2,
    source_names=("speaker_1", "speaker_2"),
    aligned=False,
    architecture="joint.blstm",
    window_s=8.0,
    context_s=0.5,
    configuration={"T": 128},
    metrics={"validation_si_sdri_db": 5.2},
    provenance=Provenance(
        "ab" * 32,
        "0123abcd",
        1000,
        "2024-01-01T00:00:00+00:00",
        Training(
            "training.train",
            {"batch_size": 16},
            18.2,
            (
                TrainingData("speech", "speech", "CC BY 4.0", 2.5, {"train": 8, "test": 2}),
                TrainingData("street", "noise"),
            ),
        ),
    ),
)


def test_a_bundle_is_read_as_it_was_written() -> None:
    assert parse_bundle(BUNDLE.to_json(), "bundle.json") == BUNDLE


UPPER_BAND = UpperBand(
    sample_rate=16000,
    step_s=0.016,
    edges_hz=(3600.0, 5000.0, 8000.0),
    provenance=Provenance("cd" * 32, "", 100, "2024-01-01T00:00:00+00:00"),
)


def test_a_bundle_with_an_upper_band_is_read_as_it_was_written() -> None:
    bundle = dataclasses.replace(BUNDLE, upper_band=UPPER_BAND)
    assert parse_bundle(bundle.to_json(), "bundle.json") == bundle


def test_the_bands_of_an_upper_band_ascend() -> None:
    upper_band = dataclasses.replace(UPPER_BAND, edges_hz=(5000.0, 3600.0))
    text = dataclasses.replace(BUNDLE, upper_band=upper_band).to_json()
    with pytest.raises(InvalidDocumentError, match="edges_hz of upper_band do not ascend"):
        parse_bundle(text, "bundle.json")


def test_a_bundle_of_version_2_has_no_upper_band() -> None:
    document = json.loads(BUNDLE.to_json()) | {"version": 2}
    del document["upper_band"]
    assert parse_bundle(json.dumps(document), "bundle.json") == BUNDLE


def test_a_bundle_of_version_1_is_still_read() -> None:
    document = json.loads(BUNDLE.to_json()) | {"version": 1}
    del document["provenance"]["training"]
    del document["upper_band"]
    unknown = dataclasses.replace(BUNDLE.provenance, training=None)
    expected = dataclasses.replace(BUNDLE, provenance=unknown)
    assert parse_bundle(json.dumps(document), "bundle.json") == expected


def test_a_bundle_of_version_2_says_how_the_model_was_trained() -> None:
    document = json.loads(BUNDLE.to_json())
    del document["provenance"]["training"]
    with pytest.raises(InvalidDocumentError, match="'training' is a required property"):
        parse_bundle(json.dumps(document), "bundle.json")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_sources": 3}, "2 source_names for 3 sources"),
        ({"context_s": 4.0}, "leaves nothing between"),
        ({"sample_rate": 0}, r"\$\.sample_rate"),
    ],
)
def test_a_bundle_that_contradicts_itself_is_refused(
    changes: dict[str, object], message: str
) -> None:
    changed = dataclasses.replace(BUNDLE, **changes)  # type: ignore[arg-type]
    with pytest.raises(InvalidDocumentError, match=f"^bundle.json: .*{message}"):
        parse_bundle(changed.to_json(), "bundle.json")
