"""Images: what a recording of several channels has of each speaker in each of them.

A model of one channel separates the average of the channels. How loud each output is in a channel,
and with which phase, is found by least squares for each frequency of a window; what the channel
has is then shared by masks in proportion to the power of these images. So the images of all
speakers add up to the recording, and one who is in another channel alone is not heard in this one.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from beam_jobs.separation.finished_windows import cut_together, framing_at
from beam_jobs.separation.spectra import analyse, synthesise
from beam_jobs.separation.windows import OverlapAdd
from schemas.pcm import Samples

_STEP_S = 0.032
# Keeps the gains of two outputs that are alike, or of one that is silent, small.
_REGULARISATION = 1e-3
_SILENCE = 1e-9


def spread_over_channels(
    blocks: Iterable[Samples], recording: Iterable[Samples], sample_rate: int, num_samples: int
) -> Iterator[tuple[Samples, bool]]:
    """Finds the images of the outputs of a recording.

    Args:
        blocks: the outputs for the average of the channels, float32 [sources, samples, 1].
        recording: all channels, float32 [samples, channels].
        sample_rate: of both, in Hz.
        num_samples: the length of both.

    Yields:
        The images, float32 [sources, samples, channels], and whether it is the last block.
    """
    join = OverlapAdd(framing_at(sample_rate), num_samples)
    rates = (sample_rate, sample_rate)
    for outputs, window, last in cut_together(blocks, recording, rates, num_samples):
        yield join.add(find_images(outputs[..., 0], window, round(_STEP_S * sample_rate))), last


def find_images(outputs: Samples, channels: Samples, step: int) -> Samples:
    """Returns the images of a window, float32 [sources, samples, channels].

    Args:
        outputs: float32 [sources, samples].
        channels: of the recording, float32 [samples, channels].
        step: of the spectra, in samples.
    """
    num_sources, num_samples = outputs.shape
    spectra, mixed = analyse(outputs, step), analyse(np.ascontiguousarray(channels.T), step)
    # s and r are sources, c channels, t frames and f bins.
    alike = np.einsum("stf,rtf->fsr", spectra.conj(), spectra).astype(np.complex128)
    heard = np.einsum("stf,ctf->fsc", spectra.conj(), mixed).astype(np.complex128)
    powers = np.trace(alike, axis1=1, axis2=2).real / num_sources
    floors = _REGULARISATION * powers + _SILENCE
    gains = np.linalg.solve(alike + floors[:, np.newaxis, np.newaxis] * np.eye(num_sources), heard)
    images = np.abs(np.einsum("stf,fsc->sctf", spectra, gains)) ** 2
    masks = (images / (images.sum(axis=0) + _SILENCE)).astype(np.float32)
    return synthesise(mixed * masks, step, num_samples).transpose(0, 2, 1)
