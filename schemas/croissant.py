"""Descriptions of datasets in Croissant, which Hugging Face, Kaggle and search engines read.

Source: https://docs.mlcommons.org/croissant/docs/croissant-spec.html, version 1.0.
"""

from collections.abc import Sequence
from typing import Any

from schemas.dataset import Dataset

# The standard's own context, word for word: readers compare it.
_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}

_FIELDS = {
    "id": ("sc:Text", "The mixture's name, the same as in its record."),
    "split": ("sc:Text", "train, validation or test."),
    "sample_rate": ("sc:Integer", "In Hz."),
    "duration_s": ("sc:Float", "The length of the mixture, in seconds."),
}


def croissant_document(
    dataset: Dataset, version: str, description: str, licenses: Sequence[str]
) -> dict[str, Any]:
    """Returns the content of `croissant.json`.

    The records are the recipes of the mixtures; the audio is in the files that they describe, which
    TensorFlow Datasets reads.

    Args:
        dataset: the content of `dataset.json`.
        version: of the dataset.
        description: in a sentence or two.
        licenses: those that are known, as SPDX spells them.
    """
    document = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": dataset.name,
        "description": description,
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "version": version,
        "keywords": ["audio", "source separation", "mixtures"],
        "distribution": [
            _files(
                "recipes", "recipes/*.jsonl", "application/jsonlines", "How each mixture was made."
            ),
            _files(
                "shards",
                f"{dataset.name}-*.tfrecord-*",
                "application/x-tfrecord",
                "The mixtures and their sources, 16-bit PCM, as tf.train.Example.",
            ),
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "mixtures",
                "name": "mixtures",
                "description": "The mixtures, as their recipes describe them.",
                "key": {"@id": "mixtures/id"},
                "field": [_field(name, *about) for name, about in _FIELDS.items()],
            }
        ],
    }
    if licenses:
        document["license"] = [f"https://spdx.org/licenses/{name}.html" for name in licenses]
    return document


def _files(name: str, pattern: str, media_type: str, description: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": name,
        "name": name,
        "description": description,
        "encodingFormat": media_type,
        "includes": pattern,
    }


def _field(name: str, data_type: str, description: str) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"mixtures/{name}",
        "name": name,
        "description": description,
        "dataType": data_type,
        "source": {"fileSet": {"@id": "recipes"}, "extract": {"column": name}},
    }
