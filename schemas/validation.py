"""JSON documents checked against the JSON Schemas beside this file."""

import functools
import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

import jsonschema

from schemas.errors import UserError


class InvalidDocumentError(UserError):
    """A document does not follow its schema; the message names the place and what stands there."""


def load_document(text: str | bytes, schema_name: str, origin: str) -> dict[str, Any]:
    """Parses JSON and checks it.

    Args:
        text: the JSON document.
        schema_name: a schema of this package without its suffix, such as `recipe_config`.
        origin: what the user knows the document by, for the error message.

    Raises:
        InvalidDocumentError: not JSON, or not as the schema says.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise InvalidDocumentError(f"{origin}: not JSON: {error}") from None
    check_document(document, schema_name, origin)
    return document  # type: ignore[no-any-return]


def check_document(document: object, schema_name: str, origin: str) -> None:
    """Checks a parsed document.

    Raises:
        InvalidDocumentError: the document is not as the schema says.
    """
    error = jsonschema.exceptions.best_match(_validator(schema_name).iter_errors(document))
    if error is not None:
        raise InvalidDocumentError(f"{origin}: {error.json_path}: {error.message}")


@functools.cache
def _validator(schema_name: str) -> jsonschema.Draft202012Validator:
    text = resources.files(__package__).joinpath(f"{schema_name}.schema.json").read_text("utf-8")
    return jsonschema.Draft202012Validator(json.loads(text))


def list_differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """What two documents of one kind have otherwise: the name and both values."""
    return [
        f"{name}: {json.dumps(there[name])} there, {json.dumps(here[name])} here"
        for name in there
        if there[name] != here[name]
    ]
