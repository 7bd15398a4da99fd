import dataclasses

import pytest

from schemas.bundle import Bundle, Provenance, parse_bundle
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
    provenance=Provenance("ab" * 32, "0123abcd", 1000, "2024-01-01T00:00:00+00:00"),
)


def test_a_bundle_is_read_as_it_was_written() -> None:
    assert parse_bundle(BUNDLE.to_json(), "bundle.json") == BUNDLE


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
