"""The short-time Fourier transform and its inverse, with Spleeter's window (periodic Hann).

Both are matrix products, which on a CPU are faster than TensorFlow's FFT: four times at 4096
samples, three times at 512.
"""

import functools
import math

import numpy as np
import numpy.typing as npt
import tensorflow as tf

Matrix = npt.NDArray[np.float32]

_LONGEST_MATRIX = 1024


def stft(
    waveform: tf.Tensor, frame_length: int, frame_step: int, num_bins: int | None = None
) -> tf.Tensor:
    """Computes the spectrogram of the frames that fit into the waveform.

    Args:
        waveform: float32 [..., samples, channels].
        frame_length: in samples.
        frame_step: in samples.
        num_bins: the number of bins, from 0 Hz up; None for all frame_length / 2 + 1.

    Returns:
        complex64 [..., frames, num_bins, channels].
    """
    parts, shape = _bins(waveform, frame_length, frame_step, num_bins)
    return _arrange(tf.complex(parts[0], parts[1]), shape)


def stft_magnitudes(
    waveform: tf.Tensor, frame_length: int, frame_step: int, num_bins: int | None = None
) -> tf.Tensor:
    """Computes the absolute values of `stft`, float32, in half of its time."""
    parts, shape = _bins(waveform, frame_length, frame_step, num_bins)
    return _arrange(tf.math.reduce_euclidean_norm(parts, axis=0), shape)


def inverse_stft(spectrogram: tf.Tensor, frame_length: int, frame_step: int) -> tf.Tensor:
    """Computes the waveform of a spectrogram; inexact only at the edges, where few frames overlap.

    Args:
        spectrogram: complex64 [..., frames, frame_length / 2 + 1, channels].
        frame_length: in samples.
        frame_step: in samples.

    Returns:
        float32 [..., samples, channels].
    """
    spectrogram = _move_channels(spectrogram, last=False)
    window = _dual_window(frame_length, frame_step)
    if frame_length > _LONGEST_MATRIX:
        frames = tf.signal.irfft(spectrogram, [frame_length]) * window.astype(np.float32)
    else:
        parts = tf.concat([tf.math.real(spectrogram), tf.math.imag(spectrogram)], axis=-1)
        frames = tf.matmul(parts, _synthesis_matrix(frame_length) * window.astype(np.float32))
    return tf.linalg.matrix_transpose(tf.signal.overlap_and_add(frames, frame_step))


def _bins(
    waveform: tf.Tensor, frame_length: int, frame_step: int, num_bins: int | None
) -> tuple[tf.Tensor, list[int | tf.Tensor]]:
    """Computes the transform, its axes in the order in which the products leave them.

    Returns:
        float32 [2, highs, signals * frames, lows], real and imaginary; and the shape of what `stft`
        returns, but with channels before frames.
    """
    waveform = tf.convert_to_tensor(waveform)
    num_bins = frame_length // 2 + 1 if num_bins is None else num_bins
    row_length = _row_length(frame_length, frame_step)
    num_rows = frame_length // row_length
    inner, outer = _analysis_matrices(frame_length, frame_step, num_bins)
    *leading, num_samples, num_channels = dimensions(waveform)
    total = num_samples // row_length
    rows = tf.reshape(
        tf.linalg.matrix_transpose(waveform)[..., : total * row_length], [-1, total, row_length]
    )
    # Two steps, as in Cooley and Tukey's FFT, each a matrix product; the frames are
    # [columns, signals, frames, rows].
    frames = tf.signal.frame(tf.transpose(rows, [2, 0, 1]), num_rows, frame_step // row_length)
    _, num_signals, num_frames, _ = dimensions(frames)
    columns = tf.reshape(frames, [row_length, num_signals * num_frames, num_rows])
    transformed = tf.reshape(tf.matmul(columns[tf.newaxis], inner), [2 * row_length, -1])
    parts = tf.reshape(
        tf.matmul(outer, transformed), [2, len(outer) // 2, num_signals * num_frames, num_rows]
    )
    return parts, [*leading, num_channels, num_frames, num_bins]


def _arrange(bins: tf.Tensor, shape: list[int | tf.Tensor]) -> tf.Tensor:
    """Turns [highs, signals * frames, lows] into [..., frames, bins, channels]."""
    num_highs, num_rows = bins.shape[0], bins.shape[2]
    bins = tf.reshape(tf.transpose(bins, [1, 0, 2]), [*shape[:-1], num_highs * num_rows])
    return _move_channels(bins[..., : shape[-1]], last=True)


def _row_length(frame_length: int, frame_step: int) -> int:
    """Returns the common divisor nearest to the square root, where the two steps cost the least."""
    common = math.gcd(frame_length, frame_step)
    divisors = [n for n in range(1, math.isqrt(frame_length) + 1) if common % n == 0]
    return divisors[-1]


@functools.cache
def _analysis_matrices(frame_length: int, frame_step: int, num_bins: int) -> tuple[Matrix, Matrix]:
    """Computes the matrices of the transform's two steps.

    They take sample `row_length * row + column` of a frame to bin `low + num_rows * high`.

    Returns:
        The first step from rows to lows, window included, [2, columns, rows, lows], real and
        imaginary; and the second from columns to highs, [2 * highs, 2 * columns], real and
        imaginary.
    """
    row_length = _row_length(frame_length, frame_step)
    num_rows = frame_length // row_length
    row, low = np.arange(num_rows), np.arange(num_rows)
    column, high = np.arange(row_length), np.arange(-(-num_bins // num_rows))
    window = _hann(frame_length).reshape(num_rows, row_length).T[:, :, np.newaxis]
    turns = (
        np.outer(row, low) / num_rows + np.multiply.outer(column, low / frame_length)[:, np.newaxis]
    )
    inner = window * np.exp(-2j * np.pi * turns)
    outer = np.exp(-2j * np.pi * np.outer(high, column) / row_length)
    joined = np.block([[outer.real, -outer.imag], [outer.imag, outer.real]])
    return np.stack([inner.real, inner.imag]).astype(np.float32), joined.astype(np.float32)


@functools.cache
def _synthesis_matrix(frame_length: int) -> Matrix:
    units = np.eye(frame_length // 2 + 1)
    matrix: Matrix = np.fft.irfft(np.concatenate([units, 1j * units]), frame_length).astype(
        np.float32
    )
    return matrix


def _hann(frame_length: int) -> npt.NDArray[np.float64]:
    angle = 2 * np.pi * np.arange(frame_length) / frame_length
    window: npt.NDArray[np.float64] = 0.5 - 0.5 * np.cos(angle)
    return window


def _dual_window(frame_length: int, frame_step: int) -> npt.NDArray[np.float64]:
    # With four frames over each sample, Spleeter's case, this is two thirds of the window.
    window = _hann(frame_length)
    energy = (window**2).reshape(-1, frame_step).sum(axis=0)
    dual: npt.NDArray[np.float64] = window / np.tile(energy, frame_length // frame_step)
    return dual


def _move_channels(spectrogram: tf.Tensor, *, last: bool) -> tf.Tensor:
    """Converts between [..., channels, frames, bins] and [..., frames, bins, channels]."""
    leading = list(range(len(spectrogram.shape) - 3))
    axis = len(leading)
    order = [axis + 1, axis + 2, axis] if last else [axis + 2, axis, axis + 1]
    return tf.transpose(spectrogram, leading + order)


def dimensions(tensor: tf.Tensor) -> list[int | tf.Tensor]:
    """Returns the size of each axis: a number if it is known, otherwise a scalar tensor."""
    dynamic = tf.shape(tensor)
    return [
        dynamic[axis] if size is None else size for axis, size in enumerate(tensor.shape.as_list())
    ]
