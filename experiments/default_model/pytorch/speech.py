"""Packs speech to train on: `python -m experiments.default_model.pytorch.speech --help`.

The folder gets `speech-0-0.opus` and so on, half an hour of a corpus each, speaker by speaker;
`noise.opus`; `rooms.npy`, int16 [rooms, speakers, samples]; `data.json`, which describes the
corpora; and last `speakers.json`, which says where each speaker is. Speakers are split as
`experiments.default_model` splits them.
"""

import argparse
import dataclasses
import json
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from beam_jobs.audio.decoding import read_segment
from beam_jobs.audio.types import UnusableAudioError
from beam_jobs.corpora.layout import Corpus, parse_corpora
from beam_jobs.corpora.sounds import parse_sounds
from beam_jobs.recipes.presets import load_recipe_config
from beam_jobs.recipes.random_numbers import keyed_uniforms
from beam_jobs.recipes.scene import draw_simulated_rooms
from beam_jobs.rendering.rooms import simulate_response
from beam_jobs.storage import files
from experiments.default_model import SAMPLE_RATE, recipe_path
from experiments.default_model.pytorch import DATA, NOISE, ROOMS, SPEAKERS
from experiments.default_model.pytorch.settings import SpeechSettings, read_settings
from experiments.default_model.speakers import split_speakers, utterances
from schemas.bundle import TrainingData
from schemas.errors import UserError
from schemas.pcm import MAX_PCM, Samples
from schemas.recipe import Channels, Utterance
from schemas.recipe_config import SimulatedRooms

_STEP = SAMPLE_RATE // 40
"""Samples over which the level of speech is measured to find pauses, 25 ms."""

# Several files of a corpus are decoded at once where they are read.
_FILE_SAMPLES = 1800 * SAMPLE_RATE


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; the exit code is 0, or 1 after an error."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.default_model.pytorch.speech",
        description=__doc__,
        allow_abbrev=False,
    )
    parser.add_argument("--corpus", action="append", required=True, help="clean speech")
    parser.add_argument("--noise", required=True, help="a folder of noise")
    parser.add_argument("--output", required=True, type=Path, help="the folder that is made")
    options = parser.parse_args(arguments)
    try:
        pack(parse_corpora(options.corpus), parse_sounds("noise", options.noise), options.output)
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def pack(corpora: Sequence[Corpus], noise: Corpus, folder: Path) -> None:
    """Packs everything into a folder, with the numbers of `settings.json`.

    Args:
        corpora: of speech.
        noise: the corpus of noise.
        folder: what is made.
    """
    settings = read_settings().speech
    folder.mkdir(parents=True, exist_ok=True)
    speakers, data = [], []
    with ThreadPoolExecutor(os.cpu_count()) as writers:
        for number, corpus in enumerate(corpora):
            packed = _pack_speech(corpus, settings, folder / f"speech-{number}", writers)
            speakers += packed
            data.append(_describe_speech(corpus, packed))
    sounds = np.concatenate(
        [set_level(read(noise, sound), settings.level_rms) for sound in utterances(noise)]
    )
    _write(folder / NOISE, sounds, settings.noise_bits_per_s)
    data.append(TrainingData(noise.name, "noise", hours=_hours(len(sounds))))
    np.save(folder / ROOMS, simulate_rooms(settings.num_rooms, settings.response_samples))
    _write_json(folder / DATA, [dataclasses.asdict(one) for one in data])
    _write_json(folder / SPEAKERS, speakers)


def read(corpus: Corpus, utterance: Utterance) -> Samples:
    """Reads an utterance at the sample rate of the model.

    Returns:
        Float32 [samples]; no samples, and a printed message, if it can't be decoded.
    """
    path = files.join(corpus.root, utterance.path)
    try:
        channel: Channels = "average" if utterance.channel is None else utterance.channel
        samples = read_segment(path, utterance.start, utterance.stop, channel)
    except UnusableAudioError as error:
        print(f"left out: {path}: {error}", file=sys.stderr)
        return np.zeros(0, np.float32)
    return soxr.resample(samples, utterance.sample_rate, SAMPLE_RATE)  # type: ignore[no-any-return]


def shorten_pauses(samples: Samples, settings: SpeechSettings) -> Samples:
    """Shortens long pauses: a mixture that is drawn from a pause teaches the network nothing."""
    steps = samples[: len(samples) // _STEP * _STEP].reshape(-1, _STEP)
    if not len(steps):
        return samples
    rms = np.sqrt(np.mean(np.square(steps), axis=1))
    is_loud = rms > np.quantile(rms, 0.95) * 10 ** (settings.pause_db / 20)
    reach = round(settings.max_pause_s / 2 * SAMPLE_RATE / _STEP)
    is_near = np.convolve(is_loud, np.ones(2 * reach + 1), mode="same") > 0
    return steps[is_near].ravel()


def set_level(samples: Samples, level_rms: float) -> Samples:
    """Scales samples to an RMS level, and clips them; of silence it leaves nothing."""
    rms = float(np.sqrt(np.mean(np.square(samples)))) if len(samples) else 0.0
    return np.clip(samples * np.float32(level_rms / rms), -1, 1) if rms else samples[:0]


def simulate_rooms(num_rooms: int, num_samples: int) -> npt.NDArray[np.int16]:
    """Simulates rooms as the recipe `train_far` has them, with positions for two speakers each.

    Args:
        num_rooms: the number of rooms.
        num_samples: the length of each response.

    Returns:
        int16 [rooms, speakers, samples], each response of unit energy.
    """
    config = load_recipe_config(str(recipe_path("train_far")))
    if not isinstance(config.rooms, SimulatedRooms):
        raise UserError("train_far: its rooms are not simulated")
    responses = np.zeros((num_rooms, config.most_speakers, num_samples), np.float32)
    for room in range(num_rooms):
        uniforms = keyed_uniforms("rooms", room)
        places = draw_simulated_rooms(config.rooms, config.most_speakers, uniforms)
        for speaker, place in enumerate(places):
            response = simulate_response(place, SAMPLE_RATE)
            start = response.direct_part.start
            samples = response.samples[start : start + num_samples]
            responses[room, speaker, : len(samples)] = samples / np.linalg.norm(samples)
    quantised: npt.NDArray[np.int16] = np.round(responses * MAX_PCM).astype(np.int16)
    return quantised


def _pack_speech(
    corpus: Corpus, settings: SpeechSettings, prefix: Path, writers: Executor
) -> list[dict[str, Any]]:
    """Writes the speech of a corpus, speaker by speaker, to files named `PREFIX-0.opus` and so on.

    Returns:
        For each speaker, the name, the corpus, the split, and which samples of which file.
    """
    by_speaker = defaultdict(list)
    for utterance in sorted(utterances(corpus), key=lambda one: one.id):
        by_speaker[utterance.speaker].append(utterance)
    splits = split_speakers(by_speaker)
    speakers: list[dict[str, Any]] = []
    pieces: list[Samples] = []
    start = 0
    written: list[Future[None]] = []

    def write_file() -> None:
        nonlocal start
        path, samples = _numbered(prefix, len(written)), np.concatenate(pieces)
        written.append(writers.submit(_write, path, samples, settings.speech_bits_per_s))
        pieces.clear()
        start = 0

    for speaker, spoken in by_speaker.items():
        chosen = spoken[:: -(-len(spoken) // settings.max_utterances_per_speaker)]
        piece = np.concatenate(
            [
                set_level(shorten_pauses(read(corpus, one), settings), settings.level_rms)
                for one in chosen
            ]
        )
        stop = start + len(piece)
        if len(piece) < settings.min_speaker_s * SAMPLE_RATE:
            continue
        where = {"file": _numbered(prefix, len(written)).name, "start": start, "stop": stop}
        who = {"speaker": speaker, "corpus": corpus.name, "split": splits[speaker]}
        speakers.append(who | where)
        pieces.append(piece)
        start = stop
        if stop >= _FILE_SAMPLES:
            write_file()
    if pieces:
        write_file()
    for one in written:
        one.result()
    if not speakers:
        raise UserError(
            f"{corpus.root}: nobody speaks for {settings.min_speaker_s:g} seconds in it"
        )
    return speakers


def _numbered(prefix: Path, number: int) -> Path:
    return prefix.with_name(f"{prefix.name}-{number}.opus")


def _describe_speech(corpus: Corpus, packed: Sequence[dict[str, Any]]) -> TrainingData:
    return TrainingData(
        corpus.name,
        "speech",
        hours=_hours(sum(speaker["stop"] - speaker["start"] for speaker in packed)),
        speakers=dict(Counter(speaker["split"] for speaker in packed)),
    )


def _hours(num_samples: int) -> float:
    return round(num_samples / SAMPLE_RATE / 3600, 2)


def _write_json(path: Path, document: object) -> None:
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _write(path: Path, samples: Samples, bits_per_s: float) -> None:
    # libsndfile's levels of compression are bit rates, from 256 kbit/s down to 6.
    level = 1 - (bits_per_s - 6000) / 250_000
    with soundfile.SoundFile(
        path, "w", SAMPLE_RATE, 1, "OPUS", format="OGG", compression_level=level
    ) as file:
        file.write(samples)


if __name__ == "__main__":
    sys.exit(main())
