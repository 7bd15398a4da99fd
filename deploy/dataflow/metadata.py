"""Prints the metadata of a command's Flex Template, from the command's own options.

python -m deploy.dataflow.metadata build_mixtures > metadata.json
"""

import argparse
import importlib
import json
import sys
from typing import Any


def template_metadata(command: str, parser: argparse.ArgumentParser) -> dict[str, Any]:
    """Describes a command for Dataflow: a `TemplateMetadata` of its API, version v1b3.

    Args:
        command: the name of its module in `beam_jobs`.
        parser: has the command's options. Flags are left out, because the launcher gives every
            parameter a value.
    """
    return {
        "name": command,
        "description": parser.description,
        "parameters": [_parameter(action) for action in parser._actions if action.nargs != 0],
    }


def _parameter(action: argparse.Action) -> dict[str, Any]:
    values = {"default": action.default, "prog": ""}
    parameter = {
        "name": action.dest,
        "label": action.dest.replace("_", " ").capitalize(),
        "helpText": (action.help or f"one of {', '.join(action.choices or ())}") % values,
        "isOptional": not action.required,
    }
    if action.choices:
        parameter["paramType"] = "ENUM"
        parameter["enumOptions"] = [{"value": choice, "label": choice} for choice in action.choices]
    return parameter


if __name__ == "__main__":
    name = sys.argv[1]
    options = importlib.import_module(f"beam_jobs.{name}").build_parser()
    print(json.dumps(template_metadata(name, options), indent=1))
