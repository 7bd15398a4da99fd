"""Mixtures of two speakers, drawn on the GPU: no two of them are the same."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import soundfile
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from experiments.default_model.mirror import NOISE, ROOMS, SPEAKERS
from schemas.pcm import FULL_SCALE

_FRAME_LENGTH, _FRAME_STEP = 256, 64
# An envelope is what changes more slowly along frequency than the harmonics of a voice.
_ENVELOPE_COEFFICIENTS = 15
_NUM_TAPS = 16
_EPSILON = 1e-6


class Speech:
    """What `mirror.speech` packed, on a device.

    Attributes:
        samples: int16 [samples], all speakers in a row.
        speakers: of each, the number of its corpus, split, start and stop.
        noise: int16 [samples].
        rooms: float32 [rooms, speakers, samples].
    """

    def __init__(self, folder: Path, device: str) -> None:
        entries = json.loads((folder / SPEAKERS).read_text())
        names = sorted({entry["file"] for entry in entries})
        pieces = [soundfile.read(folder / name, dtype="int16")[0] for name in names]
        starts = dict(zip(names, np.cumsum([0, *map(len, pieces)]).tolist(), strict=False))
        self.samples = torch.from_numpy(np.concatenate(pieces)).to(device)
        self.speakers: list[tuple[int, str, int, int]] = [
            (
                names.index(entry["file"]),
                entry["split"],
                starts[entry["file"]] + entry["start"],
                starts[entry["file"]] + entry["stop"],
            )
            for entry in entries
        ]
        noise = soundfile.read(folder / NOISE, dtype="int16")[0]
        self.noise = torch.from_numpy(noise).to(device)
        rooms = np.load(folder / ROOMS).astype(np.float32) / FULL_SCALE
        self.rooms = torch.from_numpy(rooms).to(device)


class Mixtures:
    """Draws mixtures of speakers of some splits."""

    def __init__(
        self, speech: Speech, splits: Sequence[str], num_samples: int, *, is_plain: bool
    ) -> None:
        """Makes a source of mixtures.

        Args:
            speech: whose samples.
            splits: whose speakers.
            num_samples: of a mixture.
            is_plain: fully overlapped and equally loud; else also in rooms and noise, at levels
                that differ, voices and microphones changed, and now and then heard for a part of
                the time only.
        """
        self._speech, self._num_samples, self._is_plain = speech, num_samples, is_plain
        self._device = speech.samples.device
        self._play = torch.compile(play, dynamic=False) if self._device.type == "cuda" else play
        # Speakers of one corpus stand next to each other.
        chosen = sorted(one for one in speech.speakers if one[1] in splits)
        corpora = [corpus for corpus, *_ in chosen]
        self._starts = torch.tensor([start for *_, start, _ in chosen], device=self._device)
        lengths = [stop - start for *_, start, stop in chosen]
        self._lengths = torch.tensor(lengths, device=self._device)
        names = sorted(set(corpora))
        self._firsts = torch.tensor([corpora.index(name) for name in names], device=self._device)
        self._counts = torch.tensor([corpora.count(name) for name in names], device=self._device)

    @torch.no_grad()  # type: ignore[misc]
    def draw(self, number: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draws mixtures.

        Returns:
            The mixtures, float32 [number, samples], and their sources, float32 [number, 2,
            samples].
        """

        def uniform(*shape: int) -> Tensor:
            return torch.rand(shape, device=self._device, generator=generator)

        speakers = self._pick_speakers(number, uniform)
        if self._is_plain:
            sources = self._cut(speakers, torch.ones(2 * number, device=self._device), uniform)
            sources = _level(sources.unflatten(0, (number, 2)))
            return sources.sum(dim=1), sources
        rates = torch.exp(_between(math.log(0.72), math.log(1.38), uniform(2 * number)))
        sources = _change_voices(self._cut(speakers, rates, uniform), uniform, generator)
        sources = _level(self._in_rooms(sources.unflatten(0, (number, 2)), uniform))
        sources *= 10 ** (_between(-5, 5, uniform(number, 2, 1)) / 20)
        sources = self._in_part(sources, uniform)
        mixtures = sources.sum(dim=1)
        return mixtures + self._noise_for(mixtures, uniform), sources

    def _pick_speakers(self, number: int, uniform: Callable[..., Tensor]) -> Tensor:
        """Two different speakers for each mixture, int64 [2 * number], most pairs of one corpus."""
        corpora = (uniform(2, number) * len(self._counts)).long()
        corpora[1] = torch.where(uniform(number) < 0.2, corpora[1], corpora[0])
        chosen = (uniform(2, number) * self._counts[corpora]).long()
        is_same = (corpora[0] == corpora[1]) & (chosen[0] == chosen[1])
        chosen[1] = (chosen[1] + is_same) % self._counts[corpora[1]]
        return (self._firsts[corpora] + chosen).T.flatten()

    def _cut(self, speakers: Tensor, rates: Tensor, uniform: Callable[..., Tensor]) -> Tensor:
        """From a random place of what each speaker says, float32 [speakers, samples]."""
        lengths = self._lengths[speakers]
        begin = (uniform(len(speakers)) * lengths).long()
        return self._play(
            self._speech.samples, self._starts[speakers], lengths, begin, rates, self._num_samples
        )

    def _in_rooms(self, sources: Tensor, uniform: Callable[..., Tensor]) -> Tensor:
        """A quarter of the mixtures are in a room."""
        number, rooms = len(sources), self._speech.rooms
        responses = rooms[(uniform(number) * len(rooms)).long()]
        here = F.one_hot(torch.tensor(0, device=self._device), rooms.shape[-1]).float()
        responses = torch.where(uniform(number, 1, 1) < 0.25, responses, here)
        size = 1 << (self._num_samples + rooms.shape[-1] - 1).bit_length()
        spectra = torch.fft.rfft(sources, size) * torch.fft.rfft(responses, size)
        return torch.fft.irfft(spectra, size)[..., : self._num_samples]

    def _in_part(self, sources: Tensor, uniform: Callable[..., Tensor]) -> Tensor:
        """One speaker, or both, may be heard for a part of the time only."""
        number, num_samples = len(sources), self._num_samples
        length = _between(0.25, 1, uniform(number, 2, 1)) * num_samples
        begin = uniform(number, 2, 1) * (num_samples - length)
        at = torch.arange(num_samples, device=self._device)
        # 20 ms to fade in and out.
        fade_in = ((at - begin) / 160).clamp(0, 1)
        fade_out = ((begin + length - at) / 160).clamp(0, 1)
        share = torch.tensor([[[0.37], [0.1]]], device=self._device)
        is_partly = uniform(number, 2, 1) < share
        return torch.where(is_partly, sources * fade_in * fade_out, sources)

    def _noise_for(self, mixtures: Tensor, uniform: Callable[..., Tensor]) -> Tensor:
        """Two mixtures in five have noise, 5 to 25 dB below them."""
        number, num_samples = mixtures.shape
        begin = (uniform(number, 1) * (len(self._speech.noise) - num_samples)).long()
        noise = self._speech.noise[begin + torch.arange(num_samples, device=self._device)].float()
        gain = _rms(mixtures) * 10 ** (-_between(5, 25, uniform(number, 1)) / 20)
        return _level(noise) * gain * (uniform(number, 1) < 0.4)


def play(
    samples: Tensor,
    starts: Tensor,
    lengths: Tensor,
    begin: Tensor,
    rates: Tensor,
    num_samples: int,
) -> Tensor:
    """Plays pieces of a recording, over and over, faster or slower.

    By a windowed sinc of 16 taps (Smith, "Digital audio resampling", 2002).

    Args:
        samples: int16 [samples].
        starts: int64 [pieces], where each piece is.
        lengths: int64 [pieces].
        begin: int64 [pieces], how far into the piece it begins.
        rates: float32 [pieces], how fast it is played.
        num_samples: how much of it.

    Returns:
        float32 [pieces, num_samples] in -1..1.
    """
    # From `begin` on, because float32 has no room for the fraction of a large number.
    places = torch.arange(num_samples, device=samples.device) * rates[:, None]
    whole = places.floor()
    taps = torch.arange(1 - _NUM_TAPS // 2, 1 + _NUM_TAPS // 2, device=samples.device)
    at = begin[:, None, None] + whole.long()[..., None] + taps
    around = samples[starts[:, None, None] + at % lengths[:, None, None]].float()
    distance = taps - (places - whole)[..., None]
    cutoff = 0.97 * torch.clamp(1 / rates, max=1)[:, None, None]
    window = torch.cos(math.pi / (_NUM_TAPS + 1) * distance) ** 2
    return (around * torch.sinc(cutoff * distance) * cutoff * window).sum(dim=-1) / FULL_SCALE


def _change_voices(
    waveforms: Tensor, uniform: Callable[..., Tensor], generator: torch.Generator
) -> Tensor:
    """Warps envelopes along frequency, as of another vocal tract, and filters as a microphone does.

    The envelopes are cepstrally smoothed (Oppenheim and Schafer, "Homomorphic analysis of speech",
    IEEE Transactions on Audio and Electroacoustics 16(2), 1968).
    """
    number, device = len(waveforms), waveforms.device
    window = torch.hann_window(_FRAME_LENGTH, device=device)
    stft = torch.stft(waveforms, _FRAME_LENGTH, _FRAME_STEP, window=window, return_complex=True)
    num_bins = stft.shape[1]
    cepstrum = torch.fft.irfft((stft.abs() + 1e-4).log().transpose(1, 2))
    cepstrum[..., _ENVELOPE_COEFFICIENTS : 1 - _ENVELOPE_COEFFICIENTS] = 0
    envelope = torch.fft.rfft(cepstrum).real
    warp = torch.exp(_between(-math.log(1.2), math.log(1.2), uniform(number)))
    warp = torch.where(uniform(number) < 0.3, torch.ones_like(warp), warp)
    bins = torch.arange(num_bins, device=device)
    places = (bins * warp[:, None]).clamp(max=num_bins - 1.001)
    below = places.long()[:, None].expand_as(envelope)
    fraction = (places - places.floor())[:, None]
    warped = torch.lerp(envelope.gather(2, below), envelope.gather(2, below + 1), fraction)
    gain = (warped - envelope).clamp(-2.3, 2.3).transpose(1, 2)
    orders = torch.arange(1, 6, device=device)
    curves = torch.cos(math.pi / num_bins * orders[:, None] * bins)
    heights = torch.randn(number, len(orders), device=device, generator=generator)
    microphone = (0.45 * heights / orders.sqrt()) @ curves
    stft = stft * torch.exp(gain + microphone[..., None])
    return torch.istft(stft, _FRAME_LENGTH, _FRAME_STEP, window=window, length=waveforms.shape[1])


def _between(low: float, high: float, uniform: Tensor) -> Tensor:
    return low + (high - low) * uniform


def _rms(waveforms: Tensor) -> Tensor:
    return waveforms.square().mean(dim=-1, keepdim=True).sqrt()


def _level(waveforms: Tensor) -> Tensor:
    return waveforms / (_rms(waveforms) + _EPSILON)
