"""Losses: the quantities that are compared, and the assignment of outputs to sources.

Spleeter's `L1_mask` and `weighted_L1_mask` compare each output with the source of the same index.
The names of the others begin with the assignment: `pit_`, the best permutation of the outputs for
each example (Kolbaek et al., 2017), or `onset_`, the sources in the order in which they start. The
rest of the name is the comparison:

- `L1`: of magnitudes;
- `phase_sensitive`: of magnitudes with the part of the source that is in phase with the mixture
  (Erdogan et al., "Phase-sensitive and recognition-boosted speech separation using deep recurrent
  neural networks", ICASSP 2015);
- `si_sdr`: of waveforms, regardless of level and sign (Le Roux et al., "SDR - half-baked or well
  done?", ICASSP 2019). It suits masks on magnitudes, which determine both;
- `snr`: of waveforms as they are (Wisdom et al., "Unsupervised sound separation using mixture
  invariant training", NeurIPS 2020, equation 2);
- `log_mse`: the power of the error, in dB. It takes sources that are silent, where `si_sdr` and
  `snr` leave the output to itself: there, the error is what is left in the output, and counts down
  to a level relative to the mixture (Wisdom et al., "What's all the FUSS about free universal sound
  separation data?", ICASSP 2021).
"""

import itertools
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from training.separator import Estimate, Reference

_WORST = 1e-8
_BEST = 1e-3
"""Ratios saturate softly at 30 dB, and SI-SDR also at -80 dB; the power of an error saturates at 30
dB below the source, or below the mixture if the source is silent. Otherwise the loss would be
dominated by easy examples, in which hardly anyone but one speaker is heard."""

_SILENCE = 1e-10
"""Mean square below which a source counts as silent."""


def compute_loss(loss_type: str, estimate: Estimate, reference: Reference) -> tf.Tensor:
    """Computes the loss of each example.

    Args:
        loss_type: as in a configuration.
        estimate: the model's.
        reference: the sources; for an `onset_` loss, in the order of their onsets.

    Returns:
        float32 [batch].
    """
    if loss_type in {"L1_mask", "weighted_L1_mask"}:
        pairwise = _pairwise_l1(estimate.magnitudes, reference.magnitudes)
        if loss_type == "weighted_L1_mask":
            pairwise *= tf.reduce_mean(reference.magnitudes, axis=[2, 3, 4])[:, tf.newaxis]
        return tf.linalg.trace(pairwise)
    assignment, _, measure = loss_type.partition("_")
    if measure == "L1":
        pairwise = _pairwise_l1(estimate.magnitudes, reference.magnitudes)
    elif measure == "phase_sensitive":
        pairwise = _pairwise_squared(estimate.magnitudes, reference.phase_sensitive)
    elif measure == "log_mse":
        pairwise = _pairwise_log_mse(estimate.waveforms, reference)
    else:
        ratio_db = pairwise_si_sdr if measure == "si_sdr" else _pairwise_snr
        pairwise = -ratio_db(estimate.waveforms, reference.waveforms)
        pairwise *= _weight_of_speech(reference.waveforms)[:, tf.newaxis]
    if assignment == "onset":
        return tf.linalg.trace(pairwise) / pairwise.shape[-1]
    return best_permutation(pairwise)


def best_permutation(pairwise: tf.Tensor) -> tf.Tensor:
    """Returns the least mean over all assignments of one source to each output.

    Args:
        pairwise: float32 [batch, outputs, sources].

    Returns:
        float32 [batch].
    """
    num_sources = pairwise.shape[-1]
    permutations = list(itertools.permutations(range(num_sources)))
    chosen = np.eye(num_sources, dtype=np.float32)[permutations]
    totals = tf.einsum("bij,pij->bp", pairwise, chosen)
    return tf.reduce_min(totals, axis=1) / num_sources


def pairwise_si_sdr(estimates: tf.Tensor, sources: tf.Tensor) -> tf.Tensor:
    """Computes the scale-invariant signal-to-distortion ratio of each output to each source.

    Args:
        estimates: float32 [batch, outputs, samples, channels].
        sources: float32 [batch, sources, samples, channels].

    Returns:
        float32 [batch, outputs, sources], in dB.
    """
    products = tf.einsum("binc,bjnc->bij", estimates, sources)
    estimate_energy = tf.reduce_sum(estimates**2, axis=[2, 3])[:, :, tf.newaxis]
    source_energy = tf.reduce_sum(sources**2, axis=[2, 3])[:, tf.newaxis]
    # The squared cosine of the angle between the two: the share of the output's energy that is
    # the source.
    share = products**2 / (estimate_energy * source_energy + _SILENCE)
    ratio = (share + _WORST) / (1 - tf.minimum(share, 1) + _BEST)
    return 10 / np.log(10) * tf.math.log(ratio)


def si_sdr_improvement(estimate: Estimate, reference: Reference) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes the SI-SDR improvement of the outputs, in their best permutation, over the mixture.

    It is that of the sources that are heard; any output may belong to a silent one.

    Returns:
        The improvement, float32 [batch], in dB; and bool [batch], False for examples in which fewer
        than two sources are heard, where there is nothing to separate.
    """
    is_heard = tf.cast(_is_speech(reference.waveforms), tf.float32)
    num_heard = tf.reduce_sum(is_heard, axis=1)
    separated, unprocessed = (
        pairwise_si_sdr(waveforms, reference.waveforms) * is_heard[:, tf.newaxis]
        for waveforms in (estimate.waveforms, reference.mixture[:, tf.newaxis])
    )
    improvement = -best_permutation(-separated) - tf.reduce_mean(unprocessed, axis=[1, 2])
    num_sources = reference.waveforms.shape[1]
    return improvement * num_sources / tf.maximum(num_heard, 1), num_heard >= min(num_sources, 2)


def _pairwise_snr(estimates: tf.Tensor, sources: tf.Tensor) -> tf.Tensor:
    """Computes the ratio of each source to each output's error, as `pairwise_si_sdr` in shape."""
    energy = tf.reduce_mean(sources**2, axis=[2, 3])[:, tf.newaxis] + _SILENCE
    distortion = _pairwise_squared(estimates[..., tf.newaxis], sources[..., tf.newaxis])
    return -10 / np.log(10) * tf.math.log(distortion / energy + _BEST)


def _pairwise_log_mse(estimates: tf.Tensor, reference: Reference) -> tf.Tensor:
    """Computes the power of each output's error, in dB, as `pairwise_si_sdr` in shape."""
    sources = reference.waveforms
    source_power = tf.reduce_mean(sources**2, axis=[2, 3])
    mixture_power = tf.reduce_mean(reference.mixture**2, axis=[1, 2])[:, tf.newaxis]
    level = tf.where(_is_speech(sources), source_power, mixture_power)[:, tf.newaxis]
    error = _pairwise_squared(estimates[..., tf.newaxis], sources[..., tf.newaxis])
    return 10 / np.log(10) * tf.math.log(error + _BEST * (level + _SILENCE))


def _weight_of_speech(sources: tf.Tensor) -> tf.Tensor:
    """Weights silent sources with 0 and the others so that the mean is 1; [batch, sources]."""
    weight = tf.cast(_is_speech(sources), tf.float32)
    return weight / (tf.reduce_mean(weight, axis=1, keepdims=True) + _SILENCE)


def _pairwise_l1(estimates: tf.Tensor, sources: tf.Tensor) -> tf.Tensor:
    return _pairwise(lambda output, source: tf.abs(output - source), estimates, sources)


def _is_speech(sources: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(sources**2, axis=[2, 3]) > _SILENCE


def _pairwise_squared(estimates: tf.Tensor, sources: tf.Tensor) -> tf.Tensor:
    return _pairwise(tf.math.squared_difference, estimates, sources)


def _pairwise(
    difference: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    estimates: tf.Tensor,
    sources: tf.Tensor,
) -> tf.Tensor:
    rows = [
        tf.stack(
            [
                tf.reduce_mean(difference(output, source), axis=[1, 2, 3])
                for source in tf.unstack(sources, axis=1)
            ],
            axis=1,
        )
        for output in tf.unstack(estimates, axis=1)
    ]
    return tf.stack(rows, axis=1)
