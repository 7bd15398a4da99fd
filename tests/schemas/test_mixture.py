import dataclasses

import numpy as np
import pytest

from schemas.mixture import decode_mixture, mix_down
from schemas.recipe import Noise, Recipe, Source
from schemas.tfrecord import CorruptRecordError, encode_example
from schemas.validation import InvalidDocumentError

SOURCES = tuple(
    Source("u", "corpus", "u.wav", speaker, "f", 0, 3, 8000, 0.0, "gain_db", -6.0)
    for speaker in ("anna", "bert")
)
MONO = Recipe("train-000000000", "train", 8000, 3 / 8000, "average", SOURCES)
NOISE = Noise("noise", "n.wav", 0, 3, 3, 8000, "snr_db", 10.0)


def record(recipe, /, **changes):
    """Encodes sources of 1 and 2 in the first channel, 3 and 4 in the second."""
    channels = [[[1, 3]] * 3, [[2, 4]] * 3]
    sources = np.array(channels, np.int16)[..., : recipe.num_channels]
    features = {
        "mixture": sources.sum(axis=0, dtype=np.int16).tobytes(),
        "sources": sources.tobytes(),
        "gains_db": [-6.0, -6.0],
        "recipe": recipe.to_json().encode(),
    }
    if recipe.noise is not None:
        features["noise"] = np.full((3, recipe.num_channels), 5, np.int16).tobytes()
    features = {name: value for name, value in (features | changes).items() if value is not None}
    return encode_example(features)


@pytest.mark.parametrize("channels", ["average", "stereo"])
def test_a_record_has_the_shapes_that_its_recipe_says(channels):
    recipe = dataclasses.replace(MONO, channels=channels)
    stored = decode_mixture(record(recipe), "train")
    assert stored.recipe == recipe
    assert stored.mixture.shape == (3, recipe.num_channels)
    assert stored.sources.shape == (2, 3, recipe.num_channels)
    assert np.array_equal(stored.sources.sum(axis=0), stored.mixture)
    assert stored.noise is None
    assert stored.gains_db == (-6.0, -6.0)


def test_noise_is_read_where_the_recipe_has_some():
    stored = decode_mixture(record(dataclasses.replace(MONO, noise=NOISE)), "train")
    assert stored.noise.tolist() == [[5], [5], [5]]


@pytest.mark.parametrize(
    ("damaged", "error"),
    [
        (b"no example", CorruptRecordError),
        (record(MONO, recipe=b"{}"), InvalidDocumentError),
        (record(MONO, sources=None), LookupError),
    ],
)
def test_a_record_that_is_not_a_mixture_is_refused(damaged, error):
    with pytest.raises(error):
        decode_mixture(damaged, "train")


def test_channels_are_averaged_to_floats():
    stored = decode_mixture(record(dataclasses.replace(MONO, channels="stereo")), "train")
    mono = mix_down(stored.sources)
    assert (mono.dtype, mono.shape) == (np.float32, (2, 3))
    assert (mono * 32768).tolist() == [[2.0] * 3, [3.0] * 3]
    assert (mix_down(stored.mixture) * 32768).tolist() == [5.0] * 3
