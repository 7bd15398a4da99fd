import pytest

from schemas.errors import UserError
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
