"""Reading the files that a recipe names, at the sample rate of its mixture."""

from collections.abc import Mapping

import numpy as np
import soxr

from beam_jobs.audio.decoding import read_segment
from beam_jobs.audio.types import UnusableAudioError
from beam_jobs.storage import files
from schemas.pcm import Samples
from schemas.recipe import GivenMixture, Noise, Recipe, Source


def read_part(
    part: Source | GivenMixture, recipe: Recipe, corpus_roots: Mapping[str, str]
) -> Samples:
    """Reads the stretch of a file that a source or a given mixture uses.

    Args:
        part: the source or the given mixture.
        recipe: has the sample rate, the channels and the resampler.
        corpus_roots: the folder of each corpus, by its name.

    Returns:
        float32 [samples], or for stereo [samples, 2], full scale at 1.

    Raises:
        UnusableAudioError: the file can't be decoded.
    """
    path = files.join(corpus_roots[part.corpus], part.path)
    if isinstance(part, Source) and part.channel is not None:
        samples = read_segment(path, part.start, part.stop, part.channel)
        if recipe.channels == "stereo":
            samples = np.stack([samples, samples], axis=1)
    else:
        samples = read_segment(path, part.start, part.stop, recipe.channels)
    return _resample(samples, part.played_rate, recipe)


def read_noise(noise: Noise, recipe: Recipe, corpus_roots: Mapping[str, str]) -> Samples:
    """Reads a noise, and repeats it until it is as long as its recipe says.

    Args:
        noise: the noise.
        recipe: has the sample rate, the channels and the resampler.
        corpus_roots: the folder of each corpus, by its name.

    Returns:
        float32 [samples], or for stereo [samples, 2], full scale at 1.

    Raises:
        UnusableAudioError: the file can't be decoded, or is too short to be repeated.
    """
    path = files.join(corpus_roots[noise.corpus], noise.path)
    samples = read_segment(path, noise.start, noise.stop, recipe.channels)
    extended = extend_noise(samples, noise.num_frames, noise.file_sample_rate)
    return _resample(extended, noise.file_sample_rate, recipe)


def extend_noise(samples: Samples, num_frames: int, sample_rate: int) -> Samples:
    """Repeats a noise until it is long enough, fading over half a second into each repetition.

    This is how LibriMix extends the noise of WHAM! (Cosentino et al., 2020).

    Args:
        samples: float32 [samples] or [samples, channels].
        num_frames: the length of the result.
        sample_rate: in Hz.

    Raises:
        UnusableAudioError: the noise is too short to be faded.
    """
    if len(samples) >= num_frames:
        return samples[:num_frames]
    overlap = sample_rate // 2 + 1
    if len(samples) <= 2 * overlap:
        raise UnusableAudioError("a noise of a second or less, too short to be repeated")
    fade_in = np.hanning(sample_rate + 1)[:overlap].reshape(-1, *[1] * (samples.ndim - 1))
    joint = samples[-overlap:] * fade_in[::-1] + samples[:overlap] * fade_in
    period = np.concatenate([joint, samples[overlap:-overlap]], dtype=np.float32)
    num_periods = -(-(num_frames - len(samples)) // len(period))
    extended: Samples = np.concatenate(
        [samples[:-overlap], *[period] * num_periods, samples[-overlap:]]
    )
    return extended[:num_frames]


def _resample(samples: Samples, played_rate: float, recipe: Recipe) -> Samples:
    if played_rate == recipe.sample_rate:
        return samples
    if recipe.resampler == "resample_poly":
        # scipy.signal takes a while to import, and few recipes need it.
        from scipy.signal import resample_poly  # noqa: PLC0415

        resampled: Samples = resample_poly(samples, recipe.sample_rate, round(played_rate))
    else:
        resampled = soxr.resample(samples, played_rate, recipe.sample_rate)
    return resampled
