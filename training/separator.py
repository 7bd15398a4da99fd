"""A network and the signal path around it, from mixtures to separated waveforms."""

import dataclasses

import tensorflow as tf

from schemas.configuration import Configuration
from training.architectures import build_network
from training.input import Batch
from training.spectrogram import inverse_stft, stft, stft_magnitudes

_EPSILON = 1e-10


@dataclasses.dataclass(frozen=True, slots=True)
class Estimate:
    """A model's outputs for a batch of examples.

    Attributes:
        waveforms: float32 [batch, sources, samples, channels], without the edges of the example.
        magnitudes: float32 [batch, sources, T, F, channels]; None from a model on waveforms.
    """

    waveforms: tf.Tensor
    magnitudes: tf.Tensor


@dataclasses.dataclass(frozen=True, slots=True)
class Reference:
    """The ideal outputs for a batch of examples.

    Attributes:
        waveforms: as in `Estimate`.
        mixture: float32 [batch, samples, channels], without the edges of the example.
        magnitudes: as in `Estimate`.
        phase_sensitive: the part of each source that is in phase with the mixture, clipped to
            between 0 and the magnitude of the mixture; as `magnitudes` in shape.
    """

    waveforms: tf.Tensor
    mixture: tf.Tensor
    magnitudes: tf.Tensor
    phase_sensitive: tf.Tensor


class SpectralSeparator(tf.Module):  # type: ignore[misc]
    """A network whose outputs become masks on the mixture's spectrogram, as in Spleeter."""

    def __init__(self, configuration: Configuration) -> None:
        super().__init__()
        self.network = build_network(configuration)
        self._configuration = configuration

    def estimate(self, batch: Batch, *, training: bool) -> Estimate:
        """Separates examples of T frames."""
        spectrogram = self._spectrogram(batch["mixture"])
        magnitudes = self._magnitudes(spectrogram, training=training)
        waveforms = self._waveforms(spectrogram, magnitudes)
        return Estimate(self._inner(waveforms), magnitudes)

    def reference(self, batch: Batch) -> Reference:
        """Computes the ideal outputs, which `estimate` is compared with."""
        configuration = self._configuration
        num_bins = configuration.F
        mixture = self._spectrogram(batch["mixture"], num_bins)
        sources = self._spectrogram(batch["sources"], num_bins)
        magnitudes = stft_magnitudes(
            batch["sources"], configuration.frame_length, configuration.frame_step, num_bins
        )
        level = tf.abs(mixture)[:, tf.newaxis]
        in_phase = tf.math.real(sources * tf.math.conj(mixture)[:, tf.newaxis])
        return Reference(
            self._inner(_in_channels(batch["sources"], configuration.n_channels)),
            self._inner(_in_channels(batch["mixture"], configuration.n_channels)),
            _in_channels(magnitudes, configuration.n_channels),
            tf.clip_by_value(in_phase / (level + _EPSILON), 0, level),
        )

    def separate(self, waveform: tf.Tensor) -> tf.Tensor:
        """Separates recordings of any length, exactly as Spleeter does.

        Args:
            waveform: float32 [batch, samples, channels] in -1..1.

        Returns:
            float32 [batch, sources, samples, channels].
        """
        configuration = self._configuration
        length, step = configuration.frame_length, configuration.frame_step
        num_samples = tf.shape(waveform)[1]
        num_frames = -(-(num_samples + length) // step)
        missing = (num_frames - 1) * step - num_samples
        padded = tf.pad(waveform, [[0, 0], [length, missing], [0, 0]])
        spectrogram = self._spectrogram(padded)
        magnitudes = self._magnitudes(spectrogram, training=False)
        waveforms = self._waveforms(spectrogram, magnitudes)
        return waveforms[:, :, length : length + num_samples]

    def _spectrogram(self, waveform: tf.Tensor, num_bins: int | None = None) -> tf.Tensor:
        configuration = self._configuration
        spectrogram = stft(waveform, configuration.frame_length, configuration.frame_step, num_bins)
        return _in_channels(spectrogram, configuration.n_channels)

    def _magnitudes(self, spectrogram: tf.Tensor, *, training: bool) -> tf.Tensor:
        configuration = self._configuration
        mixture = tf.abs(spectrogram)[..., : configuration.F, :]
        if configuration.is_joint:
            return self.network(mixture, training=training)
        shape = (configuration.T, configuration.F, configuration.n_channels)
        batch_size, num_frames = tf.shape(mixture)[0], tf.shape(mixture)[1]
        num_segments = -(-num_frames // configuration.T)
        missing = num_segments * configuration.T - num_frames
        mixture = tf.pad(mixture, [[0, 0], [0, missing], [0, 0], [0, 0]])
        segments = tf.reshape(mixture, (-1, *shape))
        outputs = self.network(segments, training=training)
        outputs = tf.reshape(outputs, (batch_size, num_segments, configuration.num_sources, *shape))
        outputs = tf.reshape(
            tf.transpose(outputs, [0, 2, 1, 3, 4, 5]),
            (batch_size, configuration.num_sources, num_segments * shape[0], *shape[1:]),
        )
        return outputs[:, :, :num_frames]

    def _waveforms(self, spectrogram: tf.Tensor, magnitudes: tf.Tensor) -> tf.Tensor:
        configuration = self._configuration
        powers = magnitudes**configuration.separation_exponent
        total = tf.reduce_sum(powers, axis=1, keepdims=True) + _EPSILON
        masks = (powers + _EPSILON / configuration.num_sources) / total
        num_missing = configuration.frame_length // 2 + 1 - configuration.F
        extension = tf.reduce_mean(masks, axis=3, keepdims=True)
        if configuration.mask_extension == "zeros":
            extension = tf.zeros_like(extension)
        masks = tf.concat([masks, tf.repeat(extension, num_missing, axis=3)], axis=3)
        mixture = spectrogram[:, tf.newaxis]
        separated = tf.complex(masks * tf.math.real(mixture), masks * tf.math.imag(mixture))
        return inverse_stft(separated, configuration.frame_length, configuration.frame_step)

    def _inner(self, waveform: tf.Tensor) -> tf.Tensor:
        # Too few frames overlap at the edges of an example to reconstruct the samples there.
        edge = self._configuration.frame_length - self._configuration.frame_step
        return waveform[..., edge:-edge, :]


class WaveformSeparator(tf.Module):  # type: ignore[misc]
    """A network from waveforms to waveforms."""

    def __init__(self, configuration: Configuration) -> None:
        super().__init__()
        self.network = build_network(configuration)
        self._configuration = configuration

    def estimate(self, batch: Batch, *, training: bool) -> Estimate:
        """Separates examples."""
        mixture = _in_channels(batch["mixture"], self._configuration.n_channels)
        return Estimate(self.network(mixture, training=training), None)

    def reference(self, batch: Batch) -> Reference:
        """Computes the ideal outputs, which `estimate` is compared with."""
        num_channels = self._configuration.n_channels
        sources = _in_channels(batch["sources"], num_channels)
        return Reference(sources, _in_channels(batch["mixture"], num_channels), None, None)

    def separate(self, waveform: tf.Tensor) -> tf.Tensor:
        """Separates recordings of any length, as `SpectralSeparator.separate` in shapes."""
        return self.network(waveform, training=False)


Separator = SpectralSeparator | WaveformSeparator


def build_separator(configuration: Configuration) -> Separator:
    """Builds the untrained model of a configuration."""
    if configuration.is_on_waveforms:
        return WaveformSeparator(configuration)
    return SpectralSeparator(configuration)


def _in_channels(signal: tf.Tensor, num_channels: int) -> tf.Tensor:
    """Repeats a mono signal for each channel of a stereo model."""
    if signal.shape[-1] == num_channels:
        return signal
    return tf.broadcast_to(signal, tf.concat([tf.shape(signal)[:-1], [num_channels]], axis=0))
