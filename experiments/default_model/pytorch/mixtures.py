"""Mixtures of two speakers, drawn on the GPU; no two are the same."""

import json
import math
import os
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from experiments.default_model import SAMPLE_RATE
from experiments.default_model.pytorch import NOISE, ROOMS, SPEAKERS
from experiments.default_model.pytorch.settings import MixtureSettings, Range
from schemas.pcm import FULL_SCALE

_FRAME_LENGTH, _FRAME_STEP = 256, 64
# Cepstral coefficients of an envelope; the harmonics of a voice are in the higher ones.
_ENVELOPE_COEFFICIENTS = 15
# Cosines that make up the log response of a microphone.
_NUM_COSINES = 5
_NUM_TAPS = 16
_EPSILON = 1e-6
# Telephones carry 300 to 3400 Hz; some a little more, some less.
_TELEPHONE_FROM_HZ = (150.0, 350.0)
_TELEPHONE_TO_HZ = (3000.0, 3600.0)
_TELEPHONE_HEADROOM_DB = (0.0, 20.0)


class Speech:
    """The folder that `pytorch.speech` packed, loaded onto a device.

    Attributes:
        samples: int16 [samples], one speaker after another.
        speakers: for each one, the corpus, the split, and where the speech starts and stops in
            `samples`.
        noise: int16 [samples].
        rooms: float32 [rooms, speakers, samples], room responses.
    """

    def __init__(self, folder: Path, device: str) -> None:
        entries = json.loads((folder / SPEAKERS).read_text())
        names = sorted({entry["file"] for entry in entries})
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            *pieces, noise = threads.map(_read, [folder / name for name in [*names, NOISE]])
        starts = dict(zip(names, np.cumsum([0, *map(len, pieces)]).tolist(), strict=False))
        self.samples = torch.from_numpy(np.concatenate(pieces)).to(device)
        self.speakers: list[tuple[str, str, int, int]] = [
            (
                entry["corpus"],
                entry["split"],
                starts[entry["file"]] + entry["start"],
                starts[entry["file"]] + entry["stop"],
            )
            for entry in entries
        ]
        self.noise = torch.from_numpy(noise).to(device)
        rooms = np.load(folder / ROOMS).astype(np.float32) / FULL_SCALE
        self.rooms = torch.from_numpy(rooms).to(device)


class Mixtures:
    """A source of random mixtures of the speakers of some splits."""

    def __init__(
        self,
        speech: Speech,
        splits: Sequence[str],
        num_samples: int,
        settings: MixtureSettings,
        *,
        is_plain: bool,
        corpora: Collection[str] = (),
    ) -> None:
        """Makes a source of mixtures.

        Args:
            speech: what mixtures are drawn from.
            splits: those whose speakers are heard.
            num_samples: the length of a mixture.
            settings: how often and how far mixtures are changed.
            is_plain: leaves that out: the speakers are fully overlapped, equally loud and as they
                were recorded. Otherwise they may also be in rooms and noise, at other levels, with
                other voices and microphones, take turns, or be heard for a part of the time only.
            corpora: those whose speakers are heard; all if there are none.

        Raises:
            ValueError: there are not two such speakers.
        """
        self._speech, self._num_samples = speech, num_samples
        self._settings, self._is_plain = settings, is_plain
        self._device = speech.samples.device
        # Sorted, so that the speakers of a corpus are next to each other.
        chosen = sorted(
            one
            for one in speech.speakers
            if one[1] in splits and (not corpora or one[0] in corpora)
        )
        if len(chosen) < 2:
            raise ValueError("a mixture needs two speakers")
        of_speakers = [corpus for corpus, *_ in chosen]
        self._starts = torch.tensor([start for *_, start, _ in chosen], device=self._device)
        lengths = [stop - start for *_, start, stop in chosen]
        self._lengths = torch.tensor(lengths, device=self._device)
        names = sorted(set(of_speakers))
        self._firsts = torch.tensor(
            [of_speakers.index(name) for name in names], device=self._device
        )
        self._counts = torch.tensor(
            [of_speakers.count(name) for name in names], device=self._device
        )
        shares = [settings.corpus_shares.get(name, 1.0) for name in names]
        self._corpora_until = torch.tensor(np.cumsum(shares) / sum(shares), device=self._device)

    @torch.no_grad()  # type: ignore[misc]
    def draw(self, number: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draws mixtures.

        Returns:
            The mixtures, float32 [number, samples], and their sources, float32 [number, 2,
            samples].
        """

        def uniform(*shape: int) -> Tensor:
            return torch.rand(shape, device=self._device, generator=generator)

        settings = self._settings
        speakers = self._pick_speakers(number, uniform)
        if self._is_plain:
            speeds = torch.ones(2 * number, device=self._device)
            sources = _level(self._cut(speakers, speeds, uniform).unflatten(0, (number, 2)))
            return sources.sum(dim=1), sources
        speeds = _log_between(settings.speed, uniform(2 * number))
        sources = self._cut(speakers, speeds, uniform)
        sources = _change_voices(sources, settings, uniform, generator)
        sources = sources.unflatten(0, (number, 2))
        sources = _level(self._in_rooms(sources, uniform))
        sources *= 10 ** (_between(settings.gain_db, uniform(number, 2, 1)) / 20)
        sources = sources * self._when_heard(number, uniform)
        # Drawn before one of the two falls silent, so that what is left has no other level.
        noise = self._noise_for(sources.sum(dim=1), uniform)
        sources[:, 1] *= uniform(number, 1) >= settings.one_speaker_share
        signals = torch.cat([sources, noise[:, None]], dim=1)
        signals = _through_telephones(signals, settings.telephone_share, uniform)
        mixtures = signals.sum(dim=1)
        return _companded(mixtures, settings.companded_share, uniform), signals[:, :2]

    def _pick_speakers(self, number: int, uniform: Callable[..., Tensor]) -> Tensor:
        """Picks two different speakers for each mixture, most pairs from one corpus.

        Returns:
            int64 [2 * number].
        """
        corpora = torch.searchsorted(self._corpora_until, uniform(2, number).double())
        from_two = uniform(number) < self._settings.two_corpora_share
        corpora[1] = torch.where(from_two, corpora[1], corpora[0])
        chosen = (uniform(2, number) * self._counts[corpora]).long()
        is_same = (corpora[0] == corpora[1]) & (chosen[0] == chosen[1])
        chosen[1] = (chosen[1] + is_same) % self._counts[corpora[1]]
        return (self._firsts[corpora] + chosen).T.flatten()

    def _cut(self, speakers: Tensor, speeds: Tensor, uniform: Callable[..., Tensor]) -> Tensor:
        """Cuts out the speech of each speaker from a random point on.

        Returns:
            float32 [speakers, samples].
        """
        lengths = self._lengths[speakers]
        begin = (uniform(len(speakers)) * lengths).long()
        pieces = self._starts[speakers], lengths, begin, speeds
        return play(self._speech.samples, *pieces, self._num_samples)

    def _in_rooms(self, sources: Tensor, uniform: Callable[..., Tensor]) -> Tensor:
        """Puts both speakers of some mixtures into a room."""
        number, rooms = len(sources), self._speech.rooms
        responses = rooms[(uniform(number) * len(rooms)).long()]
        no_room = F.one_hot(torch.tensor(0, device=self._device), rooms.shape[-1]).float()
        in_room = uniform(number, 1, 1) < self._settings.room_share
        responses = torch.where(in_room, responses, no_room)
        size = self._num_samples + rooms.shape[-1]
        size += -size % 4096
        spectra = torch.fft.rfft(sources, size) * torch.fft.rfft(responses, size)
        return torch.fft.irfft(spectra, size)[..., : self._num_samples]

    def _when_heard(self, number: int, uniform: Callable[..., Tensor]) -> Tensor:
        """Draws when each speaker is heard: in turns, for a part of the time, or all the time.

        Returns:
            Gains from 0 to 1, float32 [number, 2, samples].
        """
        takes_turns = uniform(number, 1, 1) < self._settings.turn_taking_share
        return torch.where(takes_turns, self._turns(number, uniform), self._parts(number, uniform))

    def _turns(self, number: int, uniform: Callable[..., Tensor]) -> Tensor:
        """Draws turns, which begin before the mixture does; both speakers have one in it."""
        settings, num_samples = self._settings, self._num_samples
        # So many if all are short: the first one is cut off, and the others fill the mixture.
        num_turns = 1 + math.ceil(num_samples / (settings.turn_s[0] * SAMPLE_RATE))
        lengths = SAMPLE_RATE * _between(settings.turn_s, uniform(number, num_turns))
        ends = lengths.cumsum(dim=1) - lengths[:, :1] * uniform(number, 1)
        overlaps = SAMPLE_RATE * _between(settings.turn_overlap_s, uniform(number, num_turns))
        gains = torch.zeros(number, 2, num_samples, device=self._device)
        # A turn at a time, since all at once take as much memory as so many sources.
        for turn in range(num_turns):
            begin, end = ends[:, turn] - lengths[:, turn], ends[:, turn] + overlaps[:, turn]
            of_speaker = gains[:, turn % 2]
            torch.maximum(of_speaker, self._fade(begin, end), out=of_speaker)
        return gains

    def _parts(self, number: int, uniform: Callable[..., Tensor]) -> Tensor:
        """Draws one part of the time for some speakers; the others are heard all the time."""
        settings, num_samples = self._settings, self._num_samples
        length = _between(settings.heard_part, uniform(number, 2)) * num_samples
        begin = uniform(number, 2) * (num_samples - length)
        share = torch.tensor(settings.partly_heard_share, device=self._device)[:, None]
        is_partly = uniform(number, 2, 1) < share
        gains = self._fade(begin, begin + length)
        return torch.where(is_partly, gains, torch.ones_like(gains))

    def _fade(self, begin: Tensor, end: Tensor) -> Tensor:
        """Returns gains that are 1 from one sample to another, and 0 outside, with fades.

        Args:
            begin: float32 [...], in samples.
            end: likewise.

        Returns:
            Float32 [..., samples].
        """
        at = torch.arange(self._num_samples, device=self._device)
        fade = self._settings.fade_s * SAMPLE_RATE
        fade_in = ((at - begin[..., None]) / fade).clamp(0, 1)
        fade_out = ((end[..., None] - at) / fade).clamp(0, 1)
        return fade_in * fade_out

    def _noise_for(self, mixtures: Tensor, uniform: Callable[..., Tensor]) -> Tensor:
        """Returns noise for each mixture, float32 [mixtures, samples]; silence for some."""
        number, num_samples = mixtures.shape
        begin = (uniform(number, 1) * (len(self._speech.noise) - num_samples)).long()
        noise = self._speech.noise[begin + torch.arange(num_samples, device=self._device)].float()
        gain_db = -_between(self._settings.snr_db, uniform(number, 1))
        gain = _rms(mixtures) * 10 ** (gain_db / 20)
        return _level(noise) * gain * (uniform(number, 1) < self._settings.noise_share)


def play(
    samples: Tensor,
    starts: Tensor,
    lengths: Tensor,
    begin: Tensor,
    speeds: Tensor,
    num_samples: int,
) -> Tensor:
    """Plays pieces of a recording in a loop, faster or slower.

    It resamples by a windowed sinc of 16 taps (Smith, "Digital audio resampling", 2002).

    Args:
        samples: int16 [samples].
        starts: int64 [pieces], the first sample of each piece.
        lengths: int64 [pieces], in samples.
        begin: int64 [pieces], how far into the piece playing begins.
        speeds: float32 [pieces], 1 for the piece as it was recorded.
        num_samples: how many samples to play.

    Returns:
        float32 [pieces, num_samples] in -1..1.
    """
    # Counted from `begin`, because float32 can't hold the fraction of a large number.
    places = torch.arange(num_samples, device=samples.device) * speeds[:, None]
    whole = places.floor()
    fraction = places - whole
    first = begin[:, None] + whole.long()
    cutoff = 0.97 * torch.clamp(1 / speeds, max=1)[:, None]
    played = torch.zeros_like(places)
    # A tap at a time, since all of them at once take memory for sixteen times the result.
    for tap in range(1 - _NUM_TAPS // 2, 1 + _NUM_TAPS // 2):
        around = samples[starts[:, None] + (first + tap) % lengths[:, None]]
        distance = tap - fraction
        window = torch.cos(math.pi / (_NUM_TAPS + 1) * distance) ** 2
        played += around * torch.sinc(cutoff * distance) * cutoff * window
    return played / FULL_SCALE


def _read(path: Path) -> npt.NDArray[np.int16]:
    samples: npt.NDArray[np.int16] = soundfile.read(path, dtype="int16")[0]
    return samples


def _through_telephones(signals: Tensor, share: float, uniform: Callable[..., Tensor]) -> Tensor:
    """Takes away what a telephone does not carry, of all signals of some mixtures.

    Args:
        signals: float32 [mixtures, signals, samples].
        share: of the mixtures.
        uniform: draws.
    """
    number, _, num_samples = signals.shape
    at_hz = torch.fft.rfftfreq(num_samples, 1 / SAMPLE_RATE).to(signals.device)
    low_hz = _between(_TELEPHONE_FROM_HZ, uniform(number, 1))
    high_hz = _between(_TELEPHONE_TO_HZ, uniform(number, 1))
    edge = torch.sigmoid((at_hz - low_hz) / 20) * torch.sigmoid((high_hz - at_hz) / 50)
    response = torch.where(uniform(number, 1) < share, edge, torch.ones_like(edge))
    return torch.fft.irfft(torch.fft.rfft(signals) * response[:, None], num_samples)


def _companded(mixtures: Tensor, share: float, uniform: Callable[..., Tensor]) -> Tensor:
    """Quantises some mixtures as mu-law does, in 8 bits, with a peak below full scale."""
    peak = mixtures.abs().amax(dim=1, keepdim=True) + _EPSILON
    full = peak * 10 ** (_between(_TELEPHONE_HEADROOM_DB, uniform(len(mixtures), 1)) / 20)
    compressed = torch.log1p(255 * (mixtures / full).abs()) / math.log(256)
    expanded = torch.expm1((compressed * 127).round() / 127 * math.log(256)) / 255
    is_companded = uniform(len(mixtures), 1) < share
    return torch.where(is_companded, mixtures.sign() * expanded * full, mixtures)


def _change_voices(
    waveforms: Tensor,
    settings: MixtureSettings,
    uniform: Callable[..., Tensor],
    generator: torch.Generator,
) -> Tensor:
    """Warps spectral envelopes, as another vocal tract would, and filters like a microphone.

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
    warp = _log_between(settings.envelope_warp, uniform(number))
    warp = torch.where(uniform(number) < settings.unwarped_share, torch.ones_like(warp), warp)
    bins = torch.arange(num_bins, device=device)
    places = (bins * warp[:, None]).clamp(max=num_bins - 1.001)
    below = places.long()[:, None].expand_as(envelope)
    fraction = (places - places.floor())[:, None]
    warped = torch.lerp(envelope.gather(2, below), envelope.gather(2, below + 1), fraction)
    limit = settings.max_warp_nepers
    gain = (warped - envelope).clamp(-limit, limit).transpose(1, 2)
    orders = torch.arange(1, _NUM_COSINES + 1, device=device)
    curves = torch.cos(math.pi / num_bins * orders[:, None] * bins)
    heights = torch.randn(number, len(orders), device=device, generator=generator)
    microphone = (settings.microphone_nepers * heights / orders.sqrt()) @ curves
    stft = stft * torch.exp(gain + microphone[..., None])
    return torch.istft(stft, _FRAME_LENGTH, _FRAME_STEP, window=window, length=waveforms.shape[1])


def _between(limits: Range, uniform: Tensor) -> Tensor:
    low, high = limits
    return low + (high - low) * uniform


def _log_between(limits: Range, uniform: Tensor) -> Tensor:
    low, high = limits
    return torch.exp(_between((math.log(low), math.log(high)), uniform))


def _rms(waveforms: Tensor) -> Tensor:
    return waveforms.square().mean(dim=-1, keepdim=True).sqrt()


def _level(waveforms: Tensor) -> Tensor:
    return waveforms / (_rms(waveforms) + _EPSILON)
