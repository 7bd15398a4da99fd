import sys

import pytest

from schemas.errors import UserError, tensorflow_remedy
from schemas.tfrecord import decode_example
from schemas.validation import load_document


@pytest.mark.parametrize(
    "read",
    [
        lambda: load_document("{", "recipe", "recipe.json"),
        lambda: load_document("{}", "recipe", "recipe.json"),
        lambda: decode_example(b"no example"),
    ],
)
def test_what_is_wrong_with_a_file_is_for_the_user_to_mend(read):
    with pytest.raises(UserError, match=r"recipe\.json|tf\.train\.Example"):
        read()


def test_a_fault_of_the_program_is_no_user_error():
    assert not issubclass(ValueError, UserError)


@pytest.mark.parametrize(
    ("version", "remedy"),
    [
        ((3, 11, 7), "pip install 'spleeter-beam[tensorflow]'"),
        (
            (3, 13, 0),
            "take Python 3.10 or 3.11, the last that TensorFlow 2.12 is for; this is 3.13",
        ),
    ],
)
def test_who_lacks_tensorflow_reads_what_this_python_needs(monkeypatch, version, remedy):
    monkeypatch.setattr(sys, "version_info", version)
    assert tensorflow_remedy() == remedy
