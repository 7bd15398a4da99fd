"""Writing the upper band of a bundle."""

import dataclasses
import datetime
import os
from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf

from command_line.output_folder import OutputFolderError
from schemas.bundle import BUNDLE, UPPER_BAND, Bundle, Provenance, parse_bundle
from training.bundle_export import current_commit
from training.local_files import write_text
from training.saved_models import save_model
from training.upper_band.bands import BANDS, LOWER_EDGES_HZ, energies
from training.upper_band.network import Network

# Training is strict about what is another's. Outputs sound better with a little more of what may
# be their own, which this power of the shares gives them: see docs/default_model.md.
_POWER = 0.7


def write_upper_band(
    folder: Path, network: Network, fingerprints: Sequence[str], num_steps: int
) -> None:
    """Writes a network into a bundle, and its description into `bundle.json`.

    Args:
        folder: the bundle.
        network: that shares the upper band.
        fingerprints: of the datasets that it was trained on.
        num_steps: of its training.

    Raises:
        InvalidDocumentError: the description of the bundle can't be read.
        OutputFolderError: the bundle can't be written.
    """
    bundle = read_bundle(folder)
    module = _module(network, bundle.sample_rate)
    save_model(module, module.share, folder / UPPER_BAND)
    provenance = Provenance(
        dataset_fingerprint=" ".join(sorted(set(fingerprints))),
        commit=current_commit(),
        steps=num_steps,
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    )
    upper_band = dataclasses.replace(BANDS, provenance=provenance)
    described = dataclasses.replace(bundle, upper_band=upper_band)
    write_text(folder / BUNDLE, described.to_json())


def read_bundle(folder: Path) -> Bundle:
    """Reads the description of a bundle that is to get an upper band.

    Raises:
        InvalidDocumentError: the description can't be read.
        OutputFolderError: the bundle can't be written.
    """
    path = folder / BUNDLE
    bundle = parse_bundle(path.read_bytes(), str(path))
    if not os.access(folder, os.W_OK):
        raise OutputFolderError(f"{folder}: can't be written: copy the bundle to where it can be")
    return bundle


def _module(network: Network, sample_rate: int) -> tf.Module:
    def share(upper: tf.Tensor, sources: tf.Tensor) -> dict[str, tf.Tensor]:
        lower = energies(sources, sample_rate, LOWER_EDGES_HZ)
        above = energies(upper, BANDS.sample_rate, BANDS.edges_hz)
        return {"shares": network(lower, above) ** _POWER}

    module = tf.Module()
    module.network_variables = network.variables
    module.share = tf.function(
        share,
        input_signature=[
            tf.TensorSpec([None, None], tf.float32, "upper"),
            tf.TensorSpec([None, None, None], tf.float32, "sources"),
        ],
        autograph=False,
    )
    return module
