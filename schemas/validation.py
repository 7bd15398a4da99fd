"""Validation of JSON documents against the JSON Schemas beside this file."""

import functools
import json
import math
from collections.abc import Collection, Mapping, Sequence
from importlib import resources
from typing import Any

import jsonschema

from schemas.errors import UserError, did_you_mean


class InvalidDocumentError(UserError):
    """A document does not follow its schema; the message gives the place and the value there."""


def load_document(text: str | bytes, schema_name: str, origin: str) -> dict[str, Any]:
    """Parses a JSON document and checks it against its schema.

    Args:
        text: the JSON document.
        schema_name: a schema of this package without its suffix, such as `recipe_config`.
        origin: the user's name for the document, such as its path, for the error message.

    Raises:
        InvalidDocumentError: not JSON, or not as the schema says.
    """
    document = parse_json(text, origin)
    check_document(document, schema_name, origin)
    return document  # type: ignore[no-any-return]


def parse_json(text: str | bytes, origin: str) -> Any:
    """Parses a JSON document, all of whose numbers are finite.

    Args:
        text: the JSON document.
        origin: as for `load_document`.

    Raises:
        InvalidDocumentError: not JSON. Python's parser takes `NaN` and `Infinity`, and makes an
            infinite number of `1e999`; here they are mistakes, as in any other parser.
    """
    try:
        return json.loads(text, parse_float=_finite, parse_constant=_finite)
    except (ValueError, RecursionError) as error:
        raise InvalidDocumentError(f"{origin}: not JSON: {error}") from None


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is not a number that can be used")
    return number


def check_document(document: object, schema_name: str, origin: str) -> None:
    """Checks a parsed document against its schema.

    Args:
        document: what `json.loads` returned.
        schema_name: as for `load_document`.
        origin: as for `load_document`.

    Raises:
        InvalidDocumentError: the document is not as the schema says.
    """
    error = jsonschema.exceptions.best_match(_validator(schema_name).iter_errors(document))
    if error is not None:
        raise InvalidDocumentError(f"{origin}: {error.json_path}: {_describe(error)}")


def describe_unknown_keys(unknown: Sequence[str], known: Collection[str]) -> str:
    """Returns a message on keys that a document should not have, with those that were meant."""
    hints = ((key, did_you_mean(repr(key), map(repr, known))) for key in unknown)
    named = ", ".join(f"{key!r} ({hint})" if hint else repr(key) for key, hint in hints)
    return f"unknown {name_keys(unknown)} {named}"


def name_keys(keys: Sequence[str]) -> str:
    """Returns the word for one key, or for several."""
    return "key" if len(keys) == 1 else "keys"


def _describe(error: Any) -> str:
    if error.validator != "additionalProperties":
        return str(error.message)
    known = error.schema.get("properties", {})
    return describe_unknown_keys([key for key in error.instance if key not in known], known)


@functools.cache
def _validator(schema_name: str) -> jsonschema.Draft202012Validator:
    text = resources.files(__package__).joinpath(f"{schema_name}.schema.json").read_text("utf-8")
    return jsonschema.Draft202012Validator(json.loads(text))


def list_differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """Lists the values in which two documents with the same keys differ: name, both values."""
    return [
        f"{name}: {json.dumps(there[name])} there, {json.dumps(here[name])} here"
        for name in there
        if there[name] != here[name]
    ]
